import { describe, expect, it } from 'vitest';

import { keyOf, schemaChange } from './comparison';

describe('a comparison', () => {
  it('reads key columns from a text', () => {
    expect(keyOf(' id , 이름,, ')).toEqual(['id', '이름']);
    expect(keyOf('')).toEqual([]);
  });

  it('names what became of a column', () => {
    const column = { name: 'a', olderNulls: 0, newerNulls: 0, changedCells: null };
    expect(schemaChange({ ...column, olderType: null, newerType: 'string' })).toBe('added');
    expect(schemaChange({ ...column, olderType: 'string', newerType: null })).toBe('removed');
    expect(schemaChange({ ...column, olderType: 'integer', newerType: 'string' })).toBe('retyped');
    expect(schemaChange({ ...column, olderType: 'string', newerType: 'string' })).toBe('kept');
  });
});
