/** Control characters in text of others: shown, never obeyed by a terminal. */

const CONTROLS = /\p{Cc}/gu;
const CONTROL = /\p{Cc}/u;
const CONTROL_BUT_TAB = /[^\P{Cc}\t]/u;
/** A control character but tab, with what makes an SGR sequence of it if it is ESC. */
const CONTROLS_AND_SGR = /[^\P{Cc}\t](\[[\d;:]*m)?/gu;

/** JSON without any control character: `stringify` leaves DEL and the C1 block as they are. */
export function escapeJson(json: string): string {
  return CONTROL.test(json) ? json.replace(CONTROLS, (control) => `\\u00${toHex(control)}`) : json;
}

/** Control characters but tab as `\xNN`; newlines as `\n`. Colours: escaped like the rest, dropped, or kept and ended. */
export function escapeControls(text: string, colors: 'escape' | 'strip' | 'keep' = 'escape'): string {
  if (!CONTROL_BUT_TAB.test(text)) return text;
  let hasColor = false;
  const escaped = text.replace(CONTROLS_AND_SGR, (match: string, sgr: string | undefined) => {
    const control = match.charAt(0);
    if (control === '\u001b' && sgr !== undefined && colors !== 'escape') {
      hasColor = true;
      return colors === 'keep' ? match : '';
    }
    return `${control === '\n' ? '\\n' : `\\x${toHex(control)}`}${sgr ?? ''}`;
  });
  return hasColor && colors === 'keep' ? `${escaped}\u001b[0m` : escaped;
}

function toHex(control: string): string {
  return control.charCodeAt(0).toString(16).padStart(2, '0');
}
