import type { Content, Message, Prompt, Values, Variable } from './queries';

export const ROLES = ['system', 'user', 'assistant'] as const satisfies Message['role'][];
export const TYPES = ['string', 'integer', 'number', 'boolean', 'list'] as const satisfies Variable['type'][];
export const TOKEN_RULES = ['refuse', 'neutralise', 'allow'] as const satisfies Variable['controlTokens'][];

/** A variable as a form holds it: numbers and defaults are text until they are sent. */
export interface VariableDraft {
  name: string;
  type: Variable['type'];
  required: boolean;
  default: string;
  description: string;
  maxLength: string;
  controlTokens: Variable['controlTokens'];
}

export interface Draft {
  messages: Message[];
  variables: VariableDraft[];
  temperature: string;
  maxTokens: string;
}

export function emptyDraft(): Draft {
  return {
    messages: [
      { role: 'system', content: '' },
      { role: 'user', content: '' },
    ],
    variables: [],
    temperature: '',
    maxTokens: '',
  };
}

export function emptyVariable(name = ''): VariableDraft {
  return { name, type: 'string', required: true, default: '', description: '', maxLength: '', controlTokens: 'refuse' };
}

export function draftOf({ content }: Pick<Prompt, 'content'>): Draft {
  return {
    messages: content.messages.map((message) => ({ ...message })),
    variables: content.variables.map((variable) => ({
      ...variable,
      default: valueText(variable.default),
      maxLength: valueText(variable.maxLength),
    })),
    temperature: valueText(content.defaults.temperature),
    maxTokens: valueText(content.defaults.maxTokens),
  };
}

/** What the form says, as the API takes it. Text that is no value of its type is sent as it is; the API then names it. */
export function contentOf(draft: Draft): Content {
  return {
    messages: draft.messages.filter((message) => message.content !== ''),
    variables: draft.variables.map((variable) => ({
      ...variable,
      default: (valueOf(variable.type, variable.default) ?? null) as Variable['default'],
      maxLength: (valueOf('integer', variable.maxLength) ?? null) as number | null,
    })),
    defaults: {
      temperature: (valueOf('number', draft.temperature) ?? null) as number | null,
      maxTokens: (valueOf('integer', draft.maxTokens) ?? null) as number | null,
    },
  };
}

/** The value of a type that a text stands for; nothing for an empty text. A list has one item a line. */
export function valueOf(type: Variable['type'], text: string): unknown {
  if (text === '') return undefined;
  if (type === 'string') return text;
  if (type === 'list') return text.split('\n').filter((line) => line !== '');
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  const number = Number(text);
  return text.trim() === '' || Number.isNaN(number) ? text : number;
}

/** The values of a try-out form, without those left empty. */
export function valuesOf(variables: Pick<Variable, 'name' | 'type'>[], texts: Record<string, string>): Values {
  return Object.fromEntries(
    variables.flatMap(({ name, type }) => {
      const value = valueOf(type, texts[name] ?? '');
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Names in `{{ … }}`, `{% if … %}` and `{% for … in … %}` that no variable has yet, for a button that declares them. */
export function undeclared(draft: Draft, problems: { path: string; problem: string }[]): string[] {
  const known = new Set(draft.variables.map((variable) => variable.name));
  const named = problems.map((it) => /^(\w+) is not declared$/.exec(it.problem)?.[1]).filter((name) => name !== undefined);
  return [...new Set(named)].filter((name) => !known.has(name));
}

function valueText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return Array.isArray(value) ? value.join('\n') : String(value);
}
