// What the programs of examples/ print, as their heads say it: lines after `Prints:`, where `...` stands for anything.

/** The lines that the head of a program has. */
export function linesToPrint(source: string): string[] {
  const [head] = source.split('\n\n', 1)
  const [, lines] = head.split('\n// Prints:\n')
  return lines.split('\n').map((line) => line.replace(/^\/\/ {3}/, ''))
}

/** Printed lines, with each that is of the wanted form replaced by that: then both can be compared. */
export function asWanted(printed: readonly string[], wanted: readonly string[]): string[] {
  return printed.map((line, i) => (wanted[i] !== undefined && isOfForm(line, wanted[i]) ? wanted[i] : line))
}

function isOfForm(line: string, form: string): boolean {
  const pieces = form.split('...').map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${pieces.join('.+')}$`).test(line)
}
