/** The fields every model card has, in the order they are read. */
export const CARD_FIELDS = ['purpose', 'scope', 'license', 'contact'] as const;

/** What a card says beside its usual fields and what is shown elsewhere: its prose and its provider. */
export function extraCard(card: Record<string, unknown>): Record<string, unknown> {
  const usual: readonly string[] = [...CARD_FIELDS, 'description', 'provider'];
  return Object.fromEntries(Object.entries(card).filter(([name]) => !usual.includes(name)));
}
