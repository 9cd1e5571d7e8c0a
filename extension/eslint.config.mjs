/** The rules of JupyterLab's extension template, on ESLint's flat configuration. */

import eslint from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/** What each room may import: those before it. */
const ROOMS = ['protocol', 'charts', 'views', 'servers', 'dashboard', 'welcome', 'plugins'];

const layers = ROOMS.map((room, i) => ({
  files: [`src/${room}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      { patterns: [{ group: ROOMS.slice(i + 1).map(later => `**/${later}/**`) }] }
    ]
  }
})).slice(0, -1);

export default tseslint.config(
  { ignores: ['lib', 'node_modules', '**/*.d.ts'] },
  eslint.configs.recommended,
  ...tseslint.configs.recommended,
  // Layout is Prettier's.
  prettier,
  {
    files: ['src/**/*.ts'],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // Not in the template: a promise that is not awaited is marked with `void`.
      '@typescript-eslint/no-floating-promises': 'error'
    }
  },
  {
    files: ['**/*.ts'],
    rules: {
      '@typescript-eslint/naming-convention': [
        'error',
        {
          selector: 'interface',
          format: ['PascalCase'],
          custom: { regex: '^I[A-Z]', match: true }
        }
      ],
      // Overrides of Lumino's methods take messages that they do not need.
      '@typescript-eslint/no-unused-vars': ['error', { args: 'none' }],
      // JupyterLab names its commands in a namespace.
      '@typescript-eslint/no-namespace': 'off',
      curly: ['error', 'all'],
      eqeqeq: 'error',
      'prefer-arrow-callback': 'error'
    }
  },
  ...layers,
  {
    files: ['**/*.mjs', 'style/*.js'],
    languageOptions: { globals: { console: 'readonly', process: 'readonly' } }
  }
);
