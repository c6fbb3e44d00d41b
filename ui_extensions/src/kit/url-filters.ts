import { computed, type WritableComputedRef } from 'vue';
import { useRoute, useRouter, type LocationQueryValue } from 'vue-router';

/** Filters that live in the address: a link to a filtered list shows the same list. An empty filter leaves no trace. */
export function useUrlFilters<Name extends string>(names: readonly Name[]) {
  const route = useRoute();
  const router = useRouter();

  const values = computed(
    () => Object.fromEntries(names.map((name) => [name, first(route.query[name])])) as Record<Name, string>,
  );

  function set(name: Name, value: string): void {
    const rest = Object.fromEntries(Object.entries(route.query).filter(([key]) => key !== name));
    void router.replace({ query: value === '' ? rest : { ...rest, [name]: value } });
  }

  const filters = Object.fromEntries(
    names.map((name) => [name, computed({ get: () => values.value[name], set: (value: unknown) => set(name, String(value ?? '')) })]),
  ) as unknown as Record<Name, WritableComputedRef<string>>;

  const active = computed(() => names.some((name) => values.value[name] !== ''));

  function clear(): void {
    const rest = Object.fromEntries(Object.entries(route.query).filter(([key]) => !names.some((name) => name === key)));
    void router.replace({ query: rest });
  }

  return { values, filters, active, clear };
}

function first(value: LocationQueryValue | LocationQueryValue[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? '';
}
