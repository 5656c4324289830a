/** What a virtual machine is to do, and what it said. */

/** A shell script to run in the virtual machine. */
export interface Step {
  /** A word. */
  readonly name: string;
  /** It is killed after this time. */
  readonly seconds: number;
  readonly script: string;
}

/** What came of a step. */
export interface StepResult {
  readonly name: string;
  readonly output: string;
  /** Exit status; `undefined` where the machine ended, or was killed, in the middle of it. */
  readonly status: number | undefined;
}

/** Takes the results apart that `init.sh` wrote to the second serial port. */
export function parseTranscript(text: string): readonly StepResult[] {
  const results: StepResult[] = [];
  for (const part of text.split(/\n?@@ begin /).slice(1)) {
    const [name = ""] = part.split("\n", 1);
    const body = part.slice(name.length + 1);
    const end = /\n?@@ end \S+ (\d+)\n/.exec(body);
    results.push({
      name,
      output: end === null ? body : body.slice(0, end.index),
      status: end === null ? undefined : Number(end[1]),
    });
  }
  return results;
}
