import Table from "cli-table3";
import { pc } from "../colours.ts";
import { colourOfCore } from "../output.ts";
import { onOneCore, type PacketTrace } from "./correlate.ts";

/** A packet with what was being sent when it came. */
export interface ProvenPacket extends PacketTrace {
  readonly kind: string;
  /** The core that the neighbour sent from. */
  readonly sentFrom: number;
}

/** The table that shows for each packet which core each hook ran on. */
export function proofTable(packets: readonly ProvenPacket[]): string {
  const table = new Table({
    head: ["#", "traffic", "XDP", "TC ingress", "TC egress", "one core?"],
    style: { head: [], border: [], compact: true },
  });
  for (const [index, packet] of packets.entries()) {
    const { kind, xdp, ingress, egress } = packet;
    table.push([
      `${index + 1}`,
      kind,
      core(xdp),
      ingress === undefined ? pc.red("lost") : core(ingress),
      egress.length === 0 ? pc.dim("no answer") : egress.map(core).join(" "),
      onOneCore(packet) ? pc.green("yes") : pc.red("NO"),
    ]);
  }
  return table.toString();
}

function core(cpu: number): string {
  return colourOfCore(cpu, `core ${cpu}`);
}
