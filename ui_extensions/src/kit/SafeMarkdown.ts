import { defineComponent, h, type VNode } from 'vue';

import { parseBlocks, parseInline, type Block } from './markdown';

/**
 * Model cards come from strangers, so this draws a small part of Markdown (headings, paragraphs, lists, code, tables,
 * bold, italics, web links) as elements of our own making. HTML in the text stays text.
 */
export default defineComponent({
  name: 'SafeMarkdown',
  props: { text: { type: String, required: true } },
  setup: (props) => () => h('div', { class: 'space-y-3 leading-relaxed break-words' }, parseBlocks(props.text).map(draw)),
});

const HEADINGS = ['text-lg font-semibold pt-2', 'text-base font-semibold pt-2', 'font-semibold pt-1'];

function draw(block: Block): VNode {
  switch (block.kind) {
    case 'heading':
      // The page's own headings are h1 and h2: a card's begin below them.
      return h(`h${Math.min(block.level + 2, 6)}`, { class: ['text-highlighted', HEADINGS[block.level - 1] ?? HEADINGS[2]] }, inline(block.text));
    case 'code':
      return h('pre', { class: 'bg-elevated overflow-x-auto rounded-md p-3 font-mono text-xs' }, block.text);
    case 'list':
      return h(
        block.ordered ? 'ol' : 'ul',
        { class: ['ms-5 space-y-1', block.ordered ? 'list-decimal' : 'list-disc'] },
        block.items.map((item) => h('li', inline(item))),
      );
    case 'table':
      return h('div', { class: 'overflow-x-auto' }, [
        h('table', { class: 'text-left text-xs' }, [
          h('thead', { class: 'text-muted' }, [row('th', block.head)]),
          h('tbody', { class: 'divide-y divide-default' }, block.rows.map((cells) => row('td', cells))),
        ]),
      ]);
    case 'paragraph':
      return h('p', inline(block.text));
  }
}

function row(tag: 'th' | 'td', cells: string[]): VNode {
  return h('tr', cells.map((cell) => h(tag, { class: 'py-1 pe-6 font-normal' }, inline(cell))));
}

function inline(text: string): (VNode | string)[] {
  return parseInline(text).map((part) => {
    switch (part.kind) {
      case 'text':
        return part.text;
      case 'bold':
        return h('strong', { class: 'font-semibold' }, part.text);
      case 'italic':
        return h('em', part.text);
      case 'code':
        return h('code', { class: 'bg-elevated rounded px-1 py-0.5 font-mono text-xs' }, part.text);
      case 'link':
        return h('a', { href: part.href, rel: 'noopener noreferrer nofollow', target: '_blank', class: 'text-primary underline' }, part.text);
    }
  });
}
