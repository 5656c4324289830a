import Table from "cli-table3";
import type { Answer } from "../../kernel/features/answer.ts";
import { ABILITIES, BTF_FEATURES, type FeatureReport, ISA_FEATURES } from "../../kernel/features/index.ts";
import { pc } from "../colours.ts";

/** A report of features as lines for people: a table for each group, and the reasons that many answers share below. */
export function formatFeatures(report: FeatureReport): readonly string[] {
  const notes = createNotes();
  const lines = GROUPS.flatMap(({ group, title, titles }) => {
    const answers = report[group];
    if (answers === undefined) return [];
    const rows = Object.entries(answers).map(([name, answer]) =>
      featureRow(titles?.[name]?.title ?? name, answer, notes),
    );
    return [pc.bold(title), tableOf(rows), ""];
  });
  const helpers =
    report.helpers === undefined
      ? []
      : [pc.bold("helpers, by program type"), ...helperLines(report.helpers, notes), ""];
  return [...lines, ...helpers, ...notes.lines(), summary(report)];
}

interface Group {
  readonly group: Exclude<keyof FeatureReport, "kernel" | "helpers">;
  readonly title: string;
  /** What names mean, where they are ours and not the kernel's. */
  readonly titles?: Readonly<Record<string, { readonly title: string }>>;
}

const GROUPS: readonly Group[] = [
  { group: "abilities", title: "abilities", titles: ABILITIES },
  { group: "isa", title: "instructions and shapes of programs", titles: ISA_FEATURES },
  { group: "mapTypes", title: "map types" },
  { group: "progTypes", title: "program types" },
  { group: "attachTypes", title: "attach types" },
  { group: "linkTypes", title: "link types" },
  { group: "btf", title: "BTF of programs and maps", titles: BTF_FEATURES },
];

/** Reasons, each with a number: nearly all that could not be found out has one and the same. */
interface Notes {
  /** The number of a reason. */
  readonly number: (reason: string) => number;
  readonly lines: () => readonly string[];
}

function createNotes(): Notes {
  const reasons: string[] = [];
  return {
    number(reason) {
      if (!reasons.includes(reason)) reasons.push(reason);
      return reasons.indexOf(reason) + 1;
    },
    lines: () => reasons.flatMap((reason, index) => [`${pc.yellow(`[${index + 1}]`)} ${reason}`, ""]),
  };
}

function featureRow(name: string, { answer, reason, since }: Answer, notes: Notes): string[] {
  const why = reason ?? "";
  switch (answer) {
    case "yes":
      return [pc.green("✔"), name, pc.dim(since), pc.green("yes"), pc.dim(why)];
    case "no":
      return [pc.red("✖"), name, pc.dim(since), pc.red("no"), pc.dim(why)];
    case "unknown":
      return [pc.yellow("?"), name, pc.dim(since), pc.yellow("unknown"), pc.yellow(`[${notes.number(why)}]`)];
  }
}

function tableOf(rows: readonly string[][]): string {
  const table = new Table({
    chars: NO_BORDERS,
    style: { "padding-left": 1, "padding-right": 1, head: [], border: [], compact: true },
  });
  table.push(...rows);
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

const NO_BORDERS = Object.fromEntries(
  ["top", "bottom", "left", "right", "mid"]
    .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`])
    .concat("middle")
    .map((part) => [part, ""]),
);

function helperLines(helpers: NonNullable<FeatureReport["helpers"]>, notes: Notes): readonly string[] {
  return Object.entries(helpers).flatMap(([type, byName]) => {
    const answers = Object.entries(byName);
    const callable = answers.filter(([, { answer }]) => answer === "yes").map(([name]) => name);
    const open = answers.filter(([, { answer }]) => answer === "unknown");
    const reason = open[0]?.[1].reason;
    const unknown =
      reason === undefined ? "" : pc.yellow(`, ${open.length} unknown [${notes.number(reason)}]`);
    return [
      `  ${type}: ${pc.green(`${callable.length} yes`)}${unknown}`,
      ...wrap(callable).map((line) => pc.dim(line)),
    ];
  });
}

/** Names, without the prefix that all of them have, in lines of a hundred characters. */
function wrap(names: readonly string[]): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const name of names) {
    const short = name.replace(/^bpf_/, "");
    if (line !== "" && line.length + short.length > 100) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? `    ${short}` : ` ${short}`;
  }
  return line === "" ? lines : [...lines, line];
}

function summary(report: FeatureReport): string {
  const answers = GROUPS.flatMap(({ group }) => Object.values<Answer>(report[group] ?? {}));
  if (answers.length === 0) return `Linux ${report.kernel}`;
  const count = (wanted: Answer["answer"]): number =>
    answers.filter(({ answer }) => answer === wanted).length;
  const unknown =
    count("unknown") === 0 ? "" : `, ${pc.yellow(`${count("unknown")} could not be found out`)}`;
  return `Linux ${report.kernel} has ${pc.green(`${count("yes")} of ${answers.length}`)}${unknown}`;
}
