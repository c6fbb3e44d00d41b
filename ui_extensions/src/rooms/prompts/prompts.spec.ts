import { describe, expect, it } from 'vitest';

import { contentOf, draftOf, emptyDraft, emptyVariable, undeclared, valueOf, valuesOf } from './draft';
import { emptyExperiment, experimentOf } from './experiment-form';
import { coursesOf, type Look } from './experiments';

describe('a prompt being written', () => {
  it('becomes content and comes back the same', () => {
    const draft = emptyDraft();
    Object.assign(draft, { temperature: '0.5', maxTokens: '100' });
    draft.messages = [{ role: 'user', content: 'Hello {{ name }}' }];
    draft.variables = [
      { ...emptyVariable('name'), maxLength: '40' },
      { ...emptyVariable('topics'), type: 'list', required: false, default: 'a\nb' },
      { ...emptyVariable('brief'), type: 'boolean', default: 'false' },
    ];
    const content = contentOf(draft);
    expect(content.variables.map((it) => it.default)).toEqual([null, ['a', 'b'], false]);
    expect(content.defaults).toEqual({ temperature: 0.5, maxTokens: 100 });
    expect(draftOf({ content })).toEqual(draft);
  });

  it('leaves out messages that are empty', () => {
    expect(contentOf(emptyDraft()).messages).toEqual([]);
  });

  it('offers to declare what is used and not declared', () => {
    const problems = [
      { path: 'messages.0.content', problem: 'topic is not declared' },
      { path: 'messages.1.content', problem: 'topic is not declared' },
      { path: 'messages.1.content', problem: 'there is no filter shout' },
    ];
    expect(undeclared(emptyDraft(), problems)).toEqual(['topic']);
    expect(undeclared({ ...emptyDraft(), variables: [emptyVariable('topic')] }, problems)).toEqual([]);
  });
});

describe('a typed value', () => {
  it('is read by its type, and sent as typed when it is none', () => {
    expect(valueOf('integer', '12')).toBe(12);
    expect(valueOf('number', '1.5')).toBe(1.5);
    expect(valueOf('integer', 'many')).toBe('many');
    expect(valueOf('boolean', 'true')).toBe(true);
    expect(valueOf('list', 'a\n\nb')).toEqual(['a', 'b']);
    expect(valueOf('string', '12')).toBe('12');
    expect(valueOf('string', '')).toBeUndefined();
  });

  it('is left out when the field is empty', () => {
    const variables = [emptyVariable('name'), { ...emptyVariable('words'), type: 'integer' as const }];
    expect(valuesOf(variables, { name: 'Ada', words: '', other: 'x' })).toEqual({ name: 'Ada' });
  });
});

describe('a prompt experiment', () => {
  const effect = (variant: string, estimate: number | null, low: number, high: number) =>
    ({ variant, estimate, low, high, pValue: 1, pairs: 1, standing: 'open' }) as const;
  const look = (users: number, ...effects: Look['effects']): Look => ({
    at: '2026-01-01T00:00:00Z', users, figures: [], effects, guards: [], balanceP: 1, balanced: true, advice: 'wait', adopt: null, ending: null,
  });

  it('is asked for in fractions, and an empty guard rail does not look', () => {
    const form = { ...emptyExperiment(), name: 'x', minimumEffect: '2.5', latency: '', errorRate: '0' };
    const asked = experimentOf(form);
    expect(asked.minimumEffect).toBe(0.025);
    expect(asked.guardRails).toEqual({ errorRate: 0, latency: null, cost: null });
    expect(asked.variants.map((it) => it.weight)).toEqual([1, 1]);
  });

  it('has a course for each challenger, in the order of users, the last look at a number of users counting', () => {
    const looks = [look(20, effect('b', 0.2, -1, 1)), look(10, effect('b', null, -1, 1)), look(20, effect('b', 0.3, -0.5, 1), effect('c', 0, -1, 1))];
    const courses = coursesOf(looks);
    expect(courses.map((it) => it.variant)).toEqual(['b', 'c']);
    expect(courses[0]?.points).toEqual([
      { users: 10, estimate: null, low: -1, high: 1 },
      { users: 20, estimate: 0.3, low: -0.5, high: 1 },
    ]);
    expect(coursesOf([])).toEqual([]);
  });
});
