import { describe, expect, it } from 'vitest';

import { contentOf, draftOf, emptyDraft, emptyVariable, undeclared, valueOf, valuesOf } from './draft';

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
