import type { Version } from './queries';

export const MODEL_TYPES = ['base', 'fine-tuned', 'external'] as const satisfies NonNullable<Version['type']>[];

/** The message key of a model type. */
export function typeKey(type: NonNullable<Version['type']>): string {
  return `catalog.types.${type.replace('-', '_')}`;
}

/** The message key of what a lineage edge means. */
export function roleKey(role: string): string {
  return `catalog.roles.${role}`;
}
