import { describe, expect, it } from 'vitest';

import { parseObject, textOf } from '../../kit/json';
import { extraCard } from './card';
import { cellText } from './cells';
import { layers, pathOf } from './lineage';
import { emptyProvider, providerOf } from './provider';
import { currentOf, type LineageGraph, type Version } from './queries';

type Node = LineageGraph['nodes'][number];

const node = (id: string, kind: Node['kind'] = 'model'): Node => ({ id, kind, name: id, version: '1', status: 'approved', quarantined: false, deleted: false });
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

describe('a node of the lineage', () => {
  it('leads to its own page', () => {
    expect(['dataset', 'model', 'evaluation', 'endpoint'].map((kind) => pathOf({ kind, id: 'x' }))).toEqual([
      '/catalog/datasets/x', '/catalog/models/x', '/evaluation/runs/x', '/serving/endpoints/x',
    ]);
  });
});

describe('the current version', () => {
  const version = (id: string, publishedAt: string | null, more: Partial<Version> = {}) =>
    ({ id, status: 'approved', createdAt: '2026-01-01', publishedAt, quarantinedAt: null, ...more }) as Version;

  it('is the approved one that was published last and that no recall holds', () => {
    const versions = [
      version('draft', '2026-09-01', { status: 'draft' }), version('recalled', '2026-08-01', { quarantinedAt: '2026-08-02' }),
      version('old', '2026-02-01'), version('back', '2026-07-01'), version('before', null),
    ];
    expect(currentOf(versions)?.id).toBe('back');
    expect(currentOf([versions[0] as Version])).toBeUndefined();
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

describe('a next version', () => {
  it('begins with the provider of the last one, and without its key', () => {
    const before = { provider: { provider: 'ollama', modelName: 'llama3.2', endpoint: 'https://o.example', organisation: null, more: 'x' } };
    expect(providerOf(before)).toEqual({ ...emptyProvider(), provider: 'ollama', modelName: 'llama3.2', endpoint: 'https://o.example' });
    expect(providerOf({})).toEqual(emptyProvider());
  });

  it('begins with metadata that can be edited and read back', () => {
    const metadata = { tags: ['한국어'], deep: { a: 1 } };
    expect(parseObject(textOf(metadata)).value).toEqual(metadata);
    expect([textOf({}), textOf(null), textOf(undefined)]).toEqual(['', '', '']);
  });
});
