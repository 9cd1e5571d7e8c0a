/** The rules of JupyterLab's extension template. */
export default {
  extends: ['stylelint-config-standard', 'stylelint-prettier/recommended'],
  plugins: ['stylelint-csstree-validator'],
  rules: {
    'csstree/validator': true,
    // JupyterLab's own names: a prefix, the part in capitals, its element.
    'selector-class-pattern': '^(wb|jp)(-[A-Za-z0-9]+)+$'
  }
};
