import ui from '@nuxt/ui/vue-plugin';
import { mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';

import { createMessages } from '../../shell/i18n';
import PiiSection from './PiiSection.vue';
import QualityParts from './QualityParts.vue';
import type { Report } from './queries';
import ValidationReport from './ValidationReport.vue';

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

describe('a report that did not pass', () => {
  const told = { message: 'Row 3 has 2 cells where the header has 4', remedy: 'Give every row as many cells.' };
  const problem = { kind: 'ragged_row', ...told, file: 'a.csv', row: 3, column: null };
  const other = { ...problem, kind: 'of_tomorrow', message: 'Row 4 is odd', remedy: 'Make it even.', row: 4 };
  const report = {
    format: 'csv', rowCount: 500, columnCount: 4, columns: [], pii, qualityThreshold: 70, passed: false,
    structure: { passed: false, problems: [problem, other], counts: {}, problemCount: 2, unreadableRows: 1, compliantRows: null },
    quality: { score: 65.25, parts: [] },
    reasons: ['The structure has 2 problems', 'Personal data was found', 'The quality score is below'],
    recommendations: ['Give every row as many cells.', 'Make it even.'],
  } as unknown as Report;

  function text(locale: 'en' | 'ko', changed: Partial<Report> = {}) {
    const props = { report: { ...report, ...changed } };
    return mount(ValidationReport, { props, global: { plugins: [createMessages(locale), ui] } }).text();
  }

  it('says why, and what is wrong, in Korean, beside the sentence of the server', () => {
    const shown = text('ko');
    expect(shown).toContain('구조에 문제가 2개 있습니다. 첫 번째: 행의 셀 수가 머리글과 다릅니다.');
    expect(shown).toContain('개인정보가 발견되었습니다: EMAIL_ADDRESS (1)');
    expect(shown).toContain('품질 점수 65.3점이 기준 70점보다 낮습니다.');
    expect(shown).toContain('Row 3 has 2 cells where the header has 4');
    expect(shown).not.toContain('Give every row as many cells.');
  });

  it('keeps the words of the server where no others are known', () => {
    expect(text('ko').match(/Make it even\./g)).toHaveLength(2);
    expect(text('ko', { reasons: ['Something else.'] })).toContain('Something else.');
    expect(text('en')).toContain('The structure has 2 problems, first: Row 3 has 2 cells where the header has 4');
    expect(text('en').match(/Give every row as many cells\./g)).toHaveLength(2);
  });
});
