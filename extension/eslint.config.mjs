/** The rules of JupyterLab's extension template, on ESLint's flat configuration. */

import eslint from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['lib', 'node_modules', '**/*.d.ts'] },
  eslint.configs.recommended,
  ...tseslint.configs.recommended,
  // Layout is Prettier's.
  prettier,
  {
    languageOptions: { parserOptions: { projectService: true } },
    files: ['src/**/*.ts'],
    rules: {
      // A promise that nobody waits for is marked with `void`: its errors go nowhere.
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
  {
    files: ['**/*.mjs', 'style/*.js'],
    languageOptions: { globals: { console: 'readonly', process: 'readonly' } }
  }
);
