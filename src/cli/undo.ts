/** Steps that take back what was done so far, for an operation that does everything or nothing. */
export class UndoStack {
  readonly #steps: UndoStep[] = [];
  readonly #kept: Disposable[] = [];
  readonly #last: (() => void)[] = [];

  /**
   * Remembers how to take something back. Push before doing it, so that a call whose answer is lost is taken back as well:
   * a step must be able to find that there is nothing to do.
   */
  push(what: string, undo: () => void): void {
    this.#steps.push({ what, undo });
  }

  /** Holds on to something that a step needs, until everything is committed or taken back. */
  keep<Kept extends Disposable>(kept: Kept): Kept {
    this.#kept.push(kept);
    return kept;
  }

  /** Has something done at the commit, when there is no way back any more. */
  last(work: () => void): void {
    this.#last.push(work);
  }

  /** Everything worked: forgets the steps. */
  commit(): void {
    this.#steps.length = 0;
    for (const work of this.#last.splice(0)) work();
    this.#release();
  }

  /** Takes everything back, the last step first. A step that fails does not stop the others; gives those that failed. */
  rollBack(): readonly string[] {
    const failures: string[] = [];
    for (const { what, undo } of this.#steps.reverse()) {
      try {
        undo();
      } catch (error) {
        failures.push(`${what}: ${error instanceof Error ? error.message : error}`);
      }
    }
    this.#steps.length = 0;
    this.#last.length = 0;
    this.#release();
    return failures;
  }

  #release(): void {
    for (const kept of this.#kept.splice(0)) kept[Symbol.dispose]();
  }
}

interface UndoStep {
  /** What is taken back, for the message when it fails. */
  readonly what: string;
  readonly undo: () => void;
}
