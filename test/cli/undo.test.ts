import { expect, test } from "vitest";
import { UndoStack } from "../../src/cli/undo.ts";

/** A stack whose steps, kept things and last works write down what happens to them. */
function recorder(): { readonly undo: UndoStack; readonly log: string[] } {
  const undo = new UndoStack();
  const log: string[] = [];
  for (const name of ["a", "b"]) {
    undo.push(name, () => void log.push(`undo ${name}`));
    undo.keep({ [Symbol.dispose]: () => void log.push(`close ${name}`) });
    undo.last(() => void log.push(`last ${name}`));
  }
  return { undo, log };
}

test("taking back runs the steps in reverse, and then lets go of what they needed", () => {
  const { undo, log } = recorder();
  expect(undo.rollBack()).toEqual([]);
  expect(log).toEqual(["undo b", "undo a", "close a", "close b"]);
});

test("a commit runs no step, does what was left to the end, and lets go", () => {
  const { undo, log } = recorder();
  undo.commit();
  expect(log).toEqual(["last a", "last b", "close a", "close b"]);
});

test("afterwards there is nothing left to do, either way", () => {
  for (const end of ["commit", "rollBack"] as const) {
    const { undo, log } = recorder();
    undo[end]();
    const done = [...log];
    undo.rollBack();
    undo.commit();
    expect(log).toEqual(done);
  }
});

test("a step that fails is named, and does not stop the others", () => {
  const undo = new UndoStack();
  const log: string[] = [];
  undo.push("first", () => void log.push("first"));
  undo.push("second", () => {
    throw new Error("no way back");
  });
  undo.push("third", () => {
    throw "a string";
  });
  undo.keep({ [Symbol.dispose]: () => void log.push("closed") });
  expect(undo.rollBack()).toEqual(["third: a string", "second: no way back"]);
  expect(log).toEqual(["first", "closed"]);
});

test("keep gives back what it keeps", () => {
  const thing = { [Symbol.dispose]: () => {} };
  expect(new UndoStack().keep(thing)).toBe(thing);
});
