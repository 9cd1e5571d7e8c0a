/** The notebook cell that does the same as a click in the page. Does not touch the page. */

export interface IDeed {
  /** `serve`, or one of the orders: `publish`, `transition` ... */
  readonly op: string;
  readonly server: string;
  readonly model: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** A value as Python writes it. */
export function python(value: unknown): string {
  if (value === null || value === undefined) {
    return 'None';
  }
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  if (typeof value === 'number') {
    return String(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map(python).join(', ')}]`;
  }
  if (typeof value === 'object') {
    const items = Object.entries(value).map(([key, item]) => `${python(key)}: ${python(item)}`);
    return `{${items.join(', ')}}`;
  }
  // JSON's escapes are Python's.
  return JSON.stringify(String(value));
}

/** A version as Python writes it, whether it came as a number or as text. */
function version(value: unknown): string {
  return typeof value === 'string' && /^[0-9]+$/.test(value) ? value : python(value);
}

function labels(value: unknown): string {
  const items = Object.entries(value as object).map(
    ([name, each]) => `${python(name)}: ${version(each)}`
  );
  return `{${items.join(', ')}}`;
}

/** The cell; null if there is none for this action. */
export function codeOf(deed: IDeed): string | null {
  const lines = ['import workbench as wb', ''];
  if (deed.op === 'serve') {
    lines.push(`server = wb.serve(${python(deed.values.path)}, name=${python(deed.server)})`);
    return lines.join('\n');
  }
  lines.push(`server = wb.connect(${python(deed.server)})`);
  if (deed.model !== deed.server) {
    lines.push(`server.model = ${python(deed.model)}`);
  }
  switch (deed.op) {
    case 'transition':
    case 'batching':
      lines.push(`server.${deed.op} = ${python(deed.values.value)}`);
      break;
    case 'labels':
      lines.push(`server.labels = ${labels(deed.values.value)}`);
      break;
    case 'publish':
      lines.push(
        `server.publish(${python(deed.values.path)}${deed.values.allow_signature_change === true ? ', allow_signature_change=True' : ''})`
      );
      break;
    case 'rollback': {
      const { version: one, to } = deed.values;
      const which = to !== undefined ? `to=${version(to)}` : one === undefined ? '' : version(one);
      lines.push(`server.rollback(${which})`);
      break;
    }
    case 'undo':
    case 'stop':
      lines.push(`server.${deed.op}()`);
      break;
    default:
      return null;
  }
  return lines.join('\n');
}
