import ui from '@nuxt/ui/vue-plugin';
import { mount } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import FilterText from './FilterText.vue';

function filter() {
  return mount(FilterText, { props: { label: 'Name', modelValue: '' }, global: { plugins: [ui] } });
}

describe('a filter that is typed', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is taken once, when the typing pauses', async () => {
    const view = filter();
    await view.get('input').setValue('tin');
    vi.advanceTimersByTime(200);
    await view.get('input').setValue('tiny');
    vi.advanceTimersByTime(200);
    expect(view.emitted('update:modelValue')).toBeUndefined();
    vi.advanceTimersByTime(100);
    expect(view.emitted('update:modelValue')).toEqual([['tiny']]);
  });

  it('is taken at once when the field is left, and not again later', async () => {
    const view = filter();
    await view.get('input').setValue('tiny');
    await view.get('input').trigger('blur');
    expect(view.emitted('update:modelValue')).toEqual([['tiny']]);
    await view.setProps({ modelValue: 'tiny' });
    vi.advanceTimersByTime(1000);
    expect(view.emitted('update:modelValue')).toHaveLength(1);
  });
});
