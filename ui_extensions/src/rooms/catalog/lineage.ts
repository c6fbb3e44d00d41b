import type { LineageGraph } from './queries';

/** A node of the drawing, with what it is to the nodes it was made from. */
export interface PlacedNode {
  id: string;
  kind: string;
  name: string;
  version: string;
  status: string;
  quarantined: boolean;
  deleted: boolean;
  roles: string[];
}

/** The page of a node. */
export function pathOf(node: { kind: string; id: string }): string {
  if (node.kind === 'evaluation') return `/evaluation/runs/${node.id}`;
  if (node.kind === 'endpoint') return `/serving/endpoints/${node.id}`;
  return node.kind === 'prompt' ? `/prompts/templates/${node.id}` : `/catalog/${node.kind}s/${node.id}`;
}

const ICONS: Record<string, string> = {
  dataset: 'i-lucide-database',
  model: 'i-lucide-box',
  evaluation: 'i-lucide-clipboard-check',
  endpoint: 'i-lucide-radio-tower',
};

/** The icon of a kind of node. */
export function iconOf(kind: string): string {
  return ICONS[kind] ?? 'i-lucide-file-text';
}

/**
 * The graph as columns from left to right: a version stands one column after the last of its parents. Lineage is acyclic; should the
 * data say otherwise, the nodes of the cycle share the last column instead of looping for ever.
 */
export function layers(graph: LineageGraph): PlacedNode[][] {
  const depth = new Map<string, number>(graph.nodes.map((node) => [node.id, 0]));
  for (let round = 0; round < graph.nodes.length; round += 1) {
    let moved = false;
    for (const edge of graph.edges) {
      const next = Math.min((depth.get(edge.parentId) ?? 0) + 1, graph.nodes.length - 1);
      if (next > (depth.get(edge.childId) ?? 0)) {
        depth.set(edge.childId, next);
        moved = true;
      }
    }
    if (!moved) break;
  }
  // A version made from nothing stands right before what was first made from it, so that no line crosses a column needlessly.
  for (const node of graph.nodes) {
    const children = graph.edges.filter((edge) => edge.parentId === node.id).map((edge) => depth.get(edge.childId) ?? 0);
    const isSource = !graph.edges.some((edge) => edge.childId === node.id);
    if (isSource && children.length) depth.set(node.id, Math.max(Math.min(...children) - 1, 0));
  }
  const columns: PlacedNode[][] = [];
  for (const node of graph.nodes) {
    const roles = graph.edges.filter((edge) => edge.childId === node.id).map((edge) => edge.role);
    const place = depth.get(node.id) ?? 0;
    (columns[place] ??= []).push({ ...node, roles: [...new Set(roles)] });
  }
  return columns.filter((column) => column !== undefined);
}

/** Measures of the drawing in pixels. */
export const NODE = { width: 176, height: 72, gapX: 56, gapY: 12 };

export interface Point {
  x: number;
  y: number;
}

/** The upper left corner of every node, with short columns centered, and the size of the whole drawing. */
export function place(columns: PlacedNode[][]): { corners: Map<string, Point>; width: number; height: number } {
  const rows = Math.max(...columns.map((column) => column.length), 1);
  const height = rows * (NODE.height + NODE.gapY) - NODE.gapY;
  const corners = new Map<string, Point>();
  columns.forEach((column, index) => {
    const own = column.length * (NODE.height + NODE.gapY) - NODE.gapY;
    column.forEach((node, row) => {
      corners.set(node.id, { x: index * (NODE.width + NODE.gapX), y: (height - own) / 2 + row * (NODE.height + NODE.gapY) });
    });
  });
  return { corners, width: columns.length * (NODE.width + NODE.gapX) - NODE.gapX, height };
}

/** The line from the right side of one node to the left side of another. */
export function line(from: Point, to: Point): string {
  const start = { x: from.x + NODE.width, y: from.y + NODE.height / 2 };
  const end = { x: to.x, y: to.y + NODE.height / 2 };
  const bend = (start.x + end.x) / 2;
  return `M${start.x} ${start.y} C${bend} ${start.y} ${bend} ${end.y} ${end.x} ${end.y}`;
}
