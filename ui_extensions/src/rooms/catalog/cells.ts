/** What a table shows of a value: text as it is, the rest as JSON, nothing for a missing value. */
export function cellText(row: Record<string, unknown>, name: string): string {
  const value = row[name];
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
