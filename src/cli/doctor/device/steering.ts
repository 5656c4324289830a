import { readdirSync, readFileSync } from "node:fs";
import { type Finding, notKnown, type Reading, read } from "../finding.ts";
import type { Target } from "../target.ts";

/** Which receive queues of an interface hand packets to other cores (receive packet steering, RPS). */
export interface SteeringFacts {
  readonly name: string;
  /** The queues that do: `rx-0` with its mask of cores. */
  readonly steered: Reading<readonly { readonly queue: string; readonly mask: string }[]>;
}

/** Reads rps_cpus of each queue. */
export function readSteering({ link }: Target): SteeringFacts {
  const directory = `/sys/class/net/${link.name}`;
  const steered = read(() => {
    // sysfs shows the network namespace that it was mounted in, which may have another interface of this name.
    if (!isSameInterface(directory, link)) throw new Error("/sys shows another network namespace");
    return readdirSync(`${directory}/queues`)
      .filter((queue) => queue.startsWith("rx-"))
      .map((queue) => ({ queue, mask: readFileSync(`${directory}/queues/${queue}/rps_cpus`, "utf8").trim() }))
      .filter(({ mask }) => /[^0,]/.test(mask));
  });
  return { name: link.name, steered };
}

/** Judges it: RPS takes packets off the core that the sample has put them on. */
export function checkSteering({ name, steered }: SteeringFacts): readonly Finding[] {
  const check = "steering";
  if ("unknown" in steered) return [notKnown(check, `receive packet steering of ${name}`, steered.unknown)];
  if (steered.value.length === 0) {
    return [{ level: "ok", check, what: `receive packet steering (RPS) of ${name} is off` }];
  }
  const queues = steered.value.map(({ queue, mask }) => `${queue} to CPU mask ${mask}`).join(", ");
  const [first] = steered.value;
  return [
    {
      level: "warn",
      check,
      what: `receive packet steering (RPS) of ${name} moves packets to other cores after XDP (${queues}): TC ingress may run elsewhere`,
      fix: `Turn it off for each queue: echo 0 > /sys/class/net/${name}/queues/${first?.queue}/rps_cpus`,
    },
  ];
}

function isSameInterface(directory: string, { index, address }: Target["link"]): boolean {
  const text = (file: string): string => readFileSync(`${directory}/${file}`, "utf8").trim();
  const mac =
    address === undefined ? "" : [...address].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  return Number(text("ifindex")) === index && text("address") === mac;
}
