export type Block =
  | { kind: 'heading'; level: number; text: string }
  | { kind: 'paragraph'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'list'; ordered: boolean; items: string[] }
  | { kind: 'table'; head: string[]; rows: string[][] };

export type Inline = { kind: 'text' | 'bold' | 'italic' | 'code'; text: string } | { kind: 'link'; text: string; href: string };

const FENCE = /^\s*```/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const ITEM = /^\s*(?:[-*+]|(\d+)[.)])\s+(.*)$/;
const ROW = /^\s*\|.*\|\s*$/;
const RULER = /^\s*\|(?:\s*:?-+:?\s*\|)+\s*$/;
const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/g;

/** A text as blocks. The YAML front matter of a model card is left out; whatever is not understood is a paragraph. */
export function parseBlocks(text: string): Block[] {
  const lines = text.replaceAll('\r\n', '\n').replace(/^---\n[\s\S]*?\n---\n/, '').split('\n');
  const blocks: Block[] = [];
  let index = 0;
  while (index < lines.length) {
    const line = lines[index] ?? '';
    const heading = HEADING.exec(line);
    if (FENCE.test(line)) {
      const end = lines.findIndex((other, at) => at > index && FENCE.test(other));
      const stop = end === -1 ? lines.length : end;
      blocks.push({ kind: 'code', text: lines.slice(index + 1, stop).join('\n') });
      index = stop + 1;
    } else if (heading) {
      blocks.push({ kind: 'heading', level: heading[1]?.length ?? 1, text: heading[2] ?? '' });
      index += 1;
    } else if (ITEM.test(line)) {
      const from = index;
      while (index < lines.length && ITEM.test(lines[index] ?? '')) index += 1;
      const items = lines.slice(from, index).map((item) => ITEM.exec(item)?.[2] ?? '');
      blocks.push({ kind: 'list', ordered: ITEM.exec(line)?.[1] !== undefined, items });
    } else if (ROW.test(line) && RULER.test(lines[index + 1] ?? '')) {
      const from = index + 2;
      index = from;
      while (index < lines.length && ROW.test(lines[index] ?? '')) index += 1;
      blocks.push({ kind: 'table', head: cellsOf(line), rows: lines.slice(from, index).map(cellsOf) });
    } else if (line.trim() === '') {
      index += 1;
    } else {
      const from = index;
      index += 1;
      while (index < lines.length && isProse(lines[index] ?? '')) index += 1;
      blocks.push({ kind: 'paragraph', text: lines.slice(from, index).join(' ') });
    }
  }
  return blocks;
}

/** A line of text as its parts. Only http and https links become links. */
export function parseInline(text: string): Inline[] {
  const parts: Inline[] = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > last) parts.push({ kind: 'text', text: text.slice(last, match.index) });
    const [whole, code, bold, italic, label, href] = match;
    if (code !== undefined) parts.push({ kind: 'code', text: code });
    else if (bold !== undefined) parts.push({ kind: 'bold', text: bold });
    else if (italic !== undefined) parts.push({ kind: 'italic', text: italic });
    else parts.push({ kind: 'link', text: label ?? '', href: href ?? '' });
    last = match.index + whole.length;
  }
  if (last < text.length) parts.push({ kind: 'text', text: text.slice(last) });
  return parts;
}

function cellsOf(row: string): string[] {
  const inner = row.trim().slice(1, -1);
  return inner.split('|').map((cell) => cell.trim());
}

function isProse(line: string): boolean {
  return line.trim() !== '' && !ROW.test(line) && !FENCE.test(line) && !HEADING.test(line) && !ITEM.test(line);
}
