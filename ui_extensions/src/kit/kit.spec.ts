import ui from '@nuxt/ui/vue-plugin';
import { mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';

import { problemOf } from '../api/client';
import { createMessages } from '../shell/i18n';
import ErrorNotice from './ErrorNotice.vue';
import { parseObject } from './json';
import { parseBlocks, parseInline } from './markdown';
import SafeMarkdown from './SafeMarkdown';
import { qualityTone, toneOf } from './status';

describe('a model card', () => {
  it('never becomes HTML', () => {
    const view = mount(SafeMarkdown, { props: { text: '# Hi <img src=x onerror=alert(1)>\n\n<script>alert(1)</script>' } });
    expect(view.find('script').exists()).toBe(false);
    expect(view.find('img').exists()).toBe(false);
    expect(view.text()).toContain('<script>alert(1)</script>');
  });

  it('links only to the web', () => {
    const view = mount(SafeMarkdown, { props: { text: '[good](https://example.org/a) and [bad](javascript:alert(1))' } });
    expect(view.findAll('a').map((link) => link.attributes('href'))).toEqual(['https://example.org/a']);
    expect(view.text()).toContain('javascript:alert(1)');
  });

  it('keeps its headings below those of the page', () => {
    const view = mount(SafeMarkdown, { props: { text: '# One\n\n## Two' } });
    expect(view.findAll('h3, h4').map((heading) => heading.text())).toEqual(['One', 'Two']);
  });

  it('is read without its front matter, with lists and an unclosed code block', () => {
    expect(parseBlocks('---\nlicense: mit\n---\n- a\n- b\n\n```\ncode')).toEqual([
      { kind: 'list', ordered: false, items: ['a', 'b'] },
      { kind: 'code', text: 'code' },
    ]);
  });

  it('has tables, and rows without a head stay text', () => {
    expect(parseBlocks('| a | b |\n|---|:-:|\n| 1 | |\n\n| x |')).toEqual([
      { kind: 'table', head: ['a', 'b'], rows: [['1', '']] },
      { kind: 'paragraph', text: '| x |' },
    ]);
  });

  it('has bold, italic and code', () => {
    expect(parseInline('a **b** *c* `d`').filter((part) => part.text.trim())).toEqual([
      { kind: 'text', text: 'a ' },
      { kind: 'bold', text: 'b' },
      { kind: 'italic', text: 'c' },
      { kind: 'code', text: 'd' },
    ]);
  });
});

describe('an error of the API', () => {
  const answer = { status: 409, statusText: 'Conflict', headers: new Headers({ 'X-Request-Id': 'r1' }) };

  it('shows message and remedy apart, and every bad field', () => {
    const errors = [{ path: 'name', problem: 'is taken', remedy: 'Choose another.' }];
    const error = problemOf(answer, { status: 'fail', message: 'It exists already. Choose another.', data: { remedy: 'Choose another.', errors } });
    expect([error.message, error.remedy, error.requestId]).toEqual(['It exists already.', 'Choose another.', 'r1']);
    expect(error.details).toEqual(errors);
  });

  it('is told in Korean by its kind, with the server’s own sentence marked as English', () => {
    const error = problemOf(answer, { status: 'fail', message: 'It exists. Choose another.', data: { kind: 'conflict', remedy: 'Choose another.' } });
    const shown = (locale: 'en' | 'ko') => mount(ErrorNotice, { props: { error }, global: { plugins: [createMessages(locale), ui] } });
    expect(shown('ko').find('p').text()).toBe('지금 상태에서는 할 수 없습니다.');
    expect(shown('ko').find('[lang=en]').text()).toBe('It exists. Choose another.');
    expect(shown('en').find('p').text()).toBe('It exists.');
    expect(shown('en').find('[lang=en]').exists()).toBe(false);
  });

  it('is understood without an envelope', () => {
    expect(problemOf(answer, '<html>').message).toBe('Conflict');
    expect(problemOf({ ...answer, statusText: '' }, undefined).message).toContain('409');
  });
});

describe('status colors', () => {
  it('follow the specification', () => {
    const colors = ['queued', 'running', 'succeeded', 'failed', 'cancelled'].map((status) => toneOf(status).color);
    expect(colors).toEqual(['warning', 'info', 'success', 'error', 'neutral']);
  });

  it('are gray for what is not known', () => {
    expect(toneOf('something-new').color).toBe('neutral');
    expect(toneOf(undefined).color).toBe('neutral');
    expect(qualityTone(null)).toBe('neutral');
  });

  it('say whether a quality score passes', () => {
    expect([70, 69, 49].map((score) => qualityTone(score))).toEqual(['success', 'warning', 'error']);
  });
});

describe('a JSON field', () => {
  it('takes objects and nothing else', () => {
    expect(parseObject('{"a": 1}')).toEqual({ value: { a: 1 } });
    expect(parseObject('  ')).toEqual({ value: {} });
    for (const text of ['[1]', '"a"', 'null', '{']) expect(parseObject(text).error).toBeTruthy();
  });
});
