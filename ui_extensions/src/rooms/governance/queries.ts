import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type AuditEntry = Schema<'AuditEntry'>;

export interface AuditFilters {
  actorId: string;
  resourceType: string;
  action: string;
}

export function useAudit(filters: MaybeRefOrGetter<AuditFilters>) {
  return useList<AuditEntry>({
    key: () => ['audit', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { actorId, resourceType, action } = toValue(filters);
      const query = {
        actorId: actorId || undefined,
        resourceType: resourceType || undefined,
        action: action || undefined,
        cursor: cursor === undefined ? undefined : Number(cursor),
      };
      return unwrapPage(await api.GET('/llm-ops/v1/audit/logs', { params: { query }, signal }));
    },
  });
}

/** Whether the chain of the audit log holds; computed on demand, since it reads the whole log. */
export function useChainVerdict() {
  return useQuery({
    queryKey: ['audit', 'verify'],
    enabled: false,
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/audit/verify', { signal })),
  });
}
