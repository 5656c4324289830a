import { pc } from "../colours.ts";
import type { Finding, Level } from "./finding.ts";

/** What `doctor` found. */
export interface Report {
  readonly machine: readonly Finding[];
  /** By the name that was asked for. */
  readonly interfaces: Readonly<Record<string, readonly Finding[]>>;
}

/** Whether nothing makes `up` impossible. */
export function isHealthy(report: Report): boolean {
  return !allFindings(report).some(({ level }) => level === "fail");
}

/** The report as lines for people. */
export function formatReport(report: Report): readonly string[] {
  const sections = [["machine", report.machine] as const, ...Object.entries(report.interfaces)];
  return [
    ...sections.flatMap(([title, findings]) => [pc.bold(title), ...findings.flatMap(formatFinding)]),
    summary(report),
  ];
}

const SYMBOLS: Readonly<Record<Level, string>> = {
  ok: pc.green("✔"),
  info: pc.blue("ℹ"),
  warn: pc.yellow("⚠"),
  fail: pc.red("✖"),
};

function formatFinding({ level, what, fix }: Finding): readonly string[] {
  const remedy = fix === undefined ? [] : fix.split("\n").map((line) => `      ${pc.dim(line)}`);
  return [`  ${SYMBOLS[level]} ${what}`, ...remedy];
}

function summary(report: Report): string {
  const count = (level: Level): number =>
    allFindings(report).filter((finding) => finding.level === level).length;
  const plural = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;
  const failures = count("fail");
  const warnings = count("warn") === 0 ? "" : `, and ${plural(count("warn"), "warning")}`;
  if (failures > 0) return pc.red(`${plural(failures, "problem")} in the way of \`up\`${warnings}`);
  if (warnings !== "") return pc.yellow(`nothing is in the way of \`up\`${warnings}`);
  return pc.green("nothing is in the way of `up`");
}

function allFindings({ machine, interfaces }: Report): readonly Finding[] {
  return [...machine, ...Object.values(interfaces).flat()];
}
