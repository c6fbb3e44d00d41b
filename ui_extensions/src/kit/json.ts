/** The JSON object in a text; an empty text is an empty object. `error` is set when it is no object. */
export function parseObject(text: string): { value: Record<string, unknown>; error?: string } {
  if (text.trim() === '') return { value: {} };
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { value: value as Record<string, unknown> };
    return { value: {}, error: 'not an object' };
  } catch (error) {
    return { value: {}, error: String(error) };
  }
}

/** An object as indented JSON to edit; an empty one, or none, is an empty text. */
export function textOf(value: object | null | undefined): string {
  return value && Object.keys(value).length ? JSON.stringify(value, null, 2) : '';
}
