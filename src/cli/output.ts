import { pc } from "./colours.ts";

/** Prints a warning to stderr, where it does not disturb what is read from stdout. */
export function warn(message: string): void {
  process.stderr.write(`${pc.yellow("warning:")} ${message}\n`);
}

/** Prints a remark to stderr. */
export function note(message: string): void {
  process.stderr.write(`${pc.dim(message)}\n`);
}

/** Prints lines to stdout. */
export function say(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Prints a JSON document to stdout. Numbers of 64 bits become numbers where they are exact, else strings. */
export function sayJson(value: unknown): void {
  say(
    JSON.stringify(
      value,
      (_key, field: unknown) => {
        if (typeof field !== "bigint") return field;
        return Number.isSafeInteger(Number(field)) ? Number(field) : String(field);
      },
      2,
    ),
  );
}

/** One line of a report: a name in a column of its own, and what there is to say. */
export function row(name: string, text: string): string {
  return `  ${pc.dim(name.padEnd(10))} ${text}`;
}

/** Colours a text by core, so that lines of one core stand out. */
export function colourOfCore(cpu: number, text: string): string {
  const colours = [pc.cyan, pc.yellow, pc.green, pc.magenta, pc.blue, pc.red];
  return (colours[cpu % colours.length] ?? pc.white)(text);
}
