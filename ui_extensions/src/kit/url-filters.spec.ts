import { flushPromises, mount } from '@vue/test-utils';
import { describe, expect, it } from 'vitest';
import { createMemoryHistory, createRouter } from 'vue-router';

import { useUrlFilters } from './url-filters';

async function open(address: string) {
  const router = createRouter({ history: createMemoryHistory(), routes: [{ path: '/', component: { template: '<i/>' } }] });
  await router.push(address);
  let made!: ReturnType<typeof useUrlFilters<'name' | 'status'>>;
  mount({ setup: () => ((made = useUrlFilters(['name', 'status'] as const)), () => null) }, { global: { plugins: [router] } });
  return { router, ...made };
}

describe('filters in the address', () => {
  it('are read from it', async () => {
    const { values, active } = await open('/?name=qa&name=twice&other=1');
    expect(values.value).toEqual({ name: 'qa', status: '' });
    expect(active.value).toBe(true);
  });

  it('are written to it, and leave it when empty', async () => {
    const { router, filters } = await open('/?other=1');
    filters.status.value = 'approved';
    await flushPromises();
    expect(router.currentRoute.value.query).toEqual({ other: '1', status: 'approved' });
    filters.status.value = '';
    await flushPromises();
    expect(router.currentRoute.value.query).toEqual({ other: '1' });
  });

  it('are cleared together', async () => {
    const { router, clear } = await open('/?name=a&status=b&other=1');
    clear();
    await flushPromises();
    expect(router.currentRoute.value.query).toEqual({ other: '1' });
  });
});
