import { describe, expect, it } from 'vitest';

import { extraCard } from './card';
import { cellText } from './cells';
import { layers } from './lineage';
import type { LineageGraph } from './queries';

type Node = LineageGraph['nodes'][number];

const node = (id: string, kind: Node['kind'] = 'model'): Node => ({ id, kind, name: id, version: '1', status: 'approved' });
const edge = (parentId: string, childId: string): LineageGraph['edges'][number] => ({ parentId, childId, role: 'trained_on' });

describe('lineage', () => {
  it('stands to the right of everything it was made from', () => {
    const graph: LineageGraph = {
      root: 'tuned',
      nodes: [node('tuned'), node('base'), node('corpus', 'dataset'), node('qa', 'dataset')],
      edges: [edge('corpus', 'base'), edge('base', 'tuned'), edge('qa', 'tuned')],
    };
    expect(layers(graph).map((column) => column.map((it) => it.id))).toEqual([['corpus'], ['base', 'qa'], ['tuned']]);
  });

  it('ends even if the data had a cycle', () => {
    const graph: LineageGraph = { root: 'a', nodes: [node('a'), node('b')], edges: [edge('a', 'b'), edge('b', 'a')] };
    expect(layers(graph).flat()).toHaveLength(2);
  });
});

describe('a cell of the preview', () => {
  it('shows text as it is, the rest as JSON, and nothing for what is missing', () => {
    const row = { text: '<b>x</b>', list: [1, null], none: null };
    expect(['text', 'list', 'none', 'absent'].map((name) => cellText(row, name))).toEqual(['<b>x</b>', '[1,null]', '', '']);
  });
});

describe('a model card', () => {
  it('keeps what is beside the usual fields', () => {
    expect(extraCard({ purpose: 'p', license: 'mit', description: '# Card', languages: ['en'] })).toEqual({ languages: ['en'] });
  });
});
