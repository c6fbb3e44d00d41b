import ui from '@nuxt/ui/vue-plugin';
import { mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';

import { createMessages } from '../../shell/i18n';
import PiiSection from './PiiSection.vue';
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
