import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type Task = Schema<'Version'>;
export type AuditEntry = Schema<'AuditEntry'>;

export interface AuditFilters {
  actorId: string;
  resourceType: string;
  action: string;
}

export interface ApprovalFilters {
  kind: string;
  ownerTeam: string;
  mine: string;
}

/** What waits for a decision, of every kind, the last submitted first. */
export function useTasks(filters: MaybeRefOrGetter<ApprovalFilters>) {
  return useList<Task>({
    key: () => ['approvals', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { kind, ownerTeam, mine } = toValue(filters);
      const query = {
        kind: (kind || undefined) as Task['kind'] | undefined,
        ownerTeam: ownerTeam || undefined,
        mine: mine === '' ? undefined : mine === 'true',
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/governance/approvals', { params: { query }, signal }));
    },
    refreshAfter: () => 15_000,
  });
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
