import ui from '@nuxt/ui/vue-plugin';
import { mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';

import { createMessages } from '../../shell/i18n';
import PiiSection from './PiiSection.vue';
import QualityParts from './QualityParts.vue';
import type { Report } from './queries';

const coverage = {
  totalRows: 500, rowsScannedRules: 500, rowsScannedNer: 200, unreadableRows: 0, columns: ['text'], recognizers: [], model: 'm',
  nerMaxCharacters: 2000, nerCellsSkipped: 0, nerCellsCut: 0, customRecognizers: [], limits: 'Not looked for: data in images.',
};
const pii: Report['pii'] = {
  status: 'failed',
  findings: [{ type: 'EMAIL_ADDRESS', column: 'text', file: 'a.csv', row: 3, start: 0, end: 9, score: 1, sample: 'j***@e***' }],
  counts: [],
  byType: { PERSON: 12, EMAIL_ADDRESS: 1 },
  coverage,
  blockingTypes: ['EMAIL_ADDRESS'],
  detail: '',
};

function show(locale: 'en' | 'ko') {
  return mount(PiiSection, { props: { pii }, global: { plugins: [createMessages(locale), ui] } });
}

describe('the findings of personal data', () => {
  it('put what blocks first, with a masked sample and where it is', () => {
    const types = show('en').findAll('section > ul > li');
    expect(types.map((item) => item.find('code').text())).toEqual(['EMAIL_ADDRESS', 'PERSON']);
    expect(types[0]?.text()).toContain('j***@e***');
    expect(types[0]?.text()).toContain('in text, row 3');
  });

  it('say how much was looked at', () => {
    expect(show('en').text()).toContain('Patterns read 500 of 500 rows; the language model read a sample of 200.');
  });

  it('are told in Korean as well', () => {
    expect(show('ko').text()).toContain('차단');
  });
});

describe('the parts of the quality score', () => {
  const parts: Report['quality']['parts'] = [
    { name: 'missing_values', measure: 'cells', figure: 0.0123, weight: 0.25, score: 97.5, recommendation: 'Fill in empty cells.', rowsLookedAt: null },
    { name: 'near_duplicates', measure: 'rows', figure: 0.2, weight: 0.05, score: 60, recommendation: 'Look.', rowsLookedAt: 10_000 },
    { name: 'schema_compliance', measure: 'rows', figure: null, weight: 0.2, score: null, recommendation: 'Declare a schema.', rowsLookedAt: null },
    { name: 'of_tomorrow', measure: 'moons', figure: 0.5, weight: 0.1, score: 0, recommendation: 'Wait.', rowsLookedAt: null },
  ];

  function rows(locale: 'en' | 'ko') {
    const table = mount(QualityParts, { props: { parts, threshold: 70 }, global: { plugins: [createMessages(locale), ui] } });
    return table.findAll('tbody tr').map((row) => row.text());
  }

  it('each have a figure, a weight, a score and what to do', () => {
    const [missing, near, schema, other] = rows('en');
    expect(missing).toMatch(/Missing values.*Fill in empty cells, or drop.*1.23% of cells.*25%.*97.5/);
    expect(near).toMatch(/20% of rows.*10,000 rows compared.*5%.*60/);
    expect(schema).toMatch(/Declare a schema.*—.*20%.*not judged/);
    expect(other).toMatch(/of tomorrow.*Wait\..*50%.*10%.*0/);
  });

  it('are told in Korean as well', () => {
    expect(rows('ko')[0]).toMatch(/결측값.*빈 셀을 채우거나.*셀의 1.23%.*25%/);
  });
});
