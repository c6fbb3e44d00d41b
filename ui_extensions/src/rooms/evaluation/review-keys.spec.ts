import { describe, expect, it } from 'vitest';

import { choicesOf, nextEmpty, stepped, type Criterion } from './review-keys';

const scale = { name: 'helpful', question: '?', kind: 'scale', low: 1, high: 5 } as Criterion;
const verdict = { name: 'safe', question: '?', kind: 'pass_fail' } as Criterion;
const pair = { name: 'better', question: '?', kind: 'pairwise' } as Criterion;

describe('the keys of a judgement', () => {
  it('are the digits of a scale and places from the left otherwise', () => {
    expect(choicesOf(scale).map((it) => it.key)).toEqual(['1', '2', '3', '4', '5']);
    expect(choicesOf({ ...scale, low: 0, high: 9 }).map((it) => it.key)).toEqual([...'0123456789']);
    expect(choicesOf({ ...scale, low: 1, high: 10 }).map((it) => it.key)).toEqual([...'1234567890']);
    expect(choicesOf({ ...scale, low: -2, high: 2 }).map((it) => [it.key, it.value])).toEqual([['1', -2], ['2', -1], ['3', 0], ['4', 1], ['5', 2]]);
    expect(choicesOf(verdict).map((it) => it.value)).toEqual(['pass', 'fail']);
    expect(choicesOf(pair).map((it) => it.value)).toEqual(['first', 'tie', 'second']);
  });

  it('step to the neighbour and stop at the ends', () => {
    expect(stepped(scale, undefined, 1)).toBe(1);
    expect(stepped(scale, undefined, -1)).toBe(5);
    expect(stepped(scale, 3, 1)).toBe(4);
    expect(stepped(scale, 5, 1)).toBe(5);
    expect(stepped(pair, 'tie', -1)).toBe('first');
  });

  it('lead to what is not judged yet', () => {
    expect(nextEmpty([scale, verdict], {}, 0)).toBe(1);
    expect(nextEmpty([scale, verdict], { safe: 'pass' }, 1)).toBe(0);
    expect(nextEmpty([scale, verdict], { safe: 'pass', helpful: 0 }, 1)).toBeUndefined();
  });
});
