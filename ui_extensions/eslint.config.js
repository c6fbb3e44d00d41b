import vue from 'eslint-plugin-vue';
import typescript from 'typescript-eslint';

export default typescript.config(
  { ignores: ['dist/**', 'node_modules/**', 'public/**', 'src/api/schema.d.ts', 'src/components.d.ts'] },
  ...typescript.configs.strict,
  ...vue.configs['flat/recommended'],
  {
    files: ['**/*.vue'],
    languageOptions: { parserOptions: { parser: typescript.parser } },
  },
  {
    rules: {
      // Layout is the author's; these rules only argue about line breaks.
      'vue/max-attributes-per-line': 'off',
      'vue/singleline-html-element-content-newline': 'off',
      'vue/multiline-html-element-content-newline': 'off',
      'vue/html-self-closing': 'off',
      'vue/html-indent': 'off',
      'vue/html-closing-bracket-newline': 'off',
      'vue/first-attribute-linebreak': 'off',
      // Optional props are `undefined` when absent: TypeScript already says so.
      'vue/require-default-prop': 'off',
      // Model cards and names come from users: nothing is ever rendered as HTML.
      'vue/no-v-html': 'error',
      'no-eval': 'error',
      'max-len': ['error', { code: 140, ignoreUrls: true, ignoreStrings: true, ignoreTemplateLiterals: true }],
    },
  },
  {
    // A tag with its classes reads best as one line.
    files: ['**/*.vue'],
    rules: { 'max-len': ['error', { code: 170, ignoreUrls: true }] },
  },
  {
    // The message files are prose: one line a sentence reads best.
    files: ['**/messages.ts'],
    rules: { 'max-len': 'off' },
  },
);
