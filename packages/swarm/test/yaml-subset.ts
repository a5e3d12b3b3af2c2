/**
 * As much of YAML as swarm's own manifest uses: block maps and lists, everything else is text. A path of keys and
 * indices → that text. Throws at indentation that no parser would take.
 */
export function parse(text: string): Map<string, string> {
  const found = new Map<string, string>();
  const open: { indent: number; path: string; index: number }[] = [{ indent: -1, path: '', index: -1 }];
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^( *)((?:- )*)(.*)$/.exec(line);
    if (!match) throw new Error(`no YAML: ${line}`);
    let indent = (match[1] ?? '').length;
    if (indent % 2 !== 0) throw new Error(`odd indentation: ${line}`);
    while ((open.at(-1)?.indent ?? -1) >= indent + (match[2] ? 1 : 0)) open.pop();
    let rest = match[3] ?? '';
    if (match[2]) {
      const list = open.at(-1);
      if (!list) throw new Error(`a list of nothing: ${line}`);
      list.index += 1;
      open.push({ indent: indent + 1, path: join(list.path, String(list.index)), index: -1 });
      indent += 2;
    }
    const parent = open.at(-1)?.path ?? '';
    const pair = /^([\w./-]+):(?: (.*))?$/.exec(rest);
    if (!pair) {
      found.set(parent, rest);
      continue;
    }
    rest = pair[2] ?? '';
    const path = join(parent, pair[1] ?? '');
    found.set(path, rest);
    if (rest === '') open.push({ indent, path, index: -1 });
  }
  return found;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
