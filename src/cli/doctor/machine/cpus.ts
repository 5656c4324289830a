import { type Cpus, formatCpuList } from "../../../kernel/cpus.ts";
import type { Finding } from "../finding.ts";

/** Says which CPUs there are for the CPU map. */
export function checkCpus({ online, possible }: Cpus): readonly Finding[] {
  const check = "cpus";
  const what = `${online.length} CPU${online.length === 1 ? "" : "s"} online (${formatCpuList(online)})`;
  const offline = possible.filter((cpu) => !online.includes(cpu));
  if (online.length === 1) {
    return [
      {
        level: "info",
        check,
        what: `${what}: every packet runs on it in any case`,
        fix: "With more there is more to see.",
      },
    ];
  }
  if (offline.length === 0) return [{ level: "ok", check, what: `${what}, none offline` }];
  return [
    {
      level: "info",
      check,
      what: `${what}, and ${offline.length} possible that are not (${formatCpuList(offline)})`,
      fix: "`up` makes entries for those that are online; after bringing up another one run `up` again.",
    },
  ];
}
