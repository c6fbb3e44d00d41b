/** The fields every model card has, in the order they are read. */
export const CARD_FIELDS = ['purpose', 'scope', 'license', 'contact'] as const;

/** What a card says beside its usual fields and its prose, which is shown as text. */
export function extraCard(card: Record<string, unknown>): Record<string, unknown> {
  const usual: readonly string[] = [...CARD_FIELDS, 'description'];
  return Object.fromEntries(Object.entries(card).filter(([name]) => !usual.includes(name)));
}
