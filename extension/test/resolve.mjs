/** Lets Node's test runner import sources as they import each other: without `.ts`. */

import { registerHooks } from 'node:module';

registerHooks({
  resolve(specifier, context, next) {
    const bare = specifier.startsWith('.') && !/\.[a-z]+$/.test(specifier);
    return next(bare ? `${specifier}.ts` : specifier, context);
  }
});
