/* XDP: answers pings (IPv4 without options) by itself. */
#include "bpf.h"

#define ICMP_ECHOREPLY 0
#define ICMP_ECHO 8

int icmp_echo(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct icmphdr *icmp = (void *)(ip + 1);
	__u8 mac[6];
	__be32 addr;
	__u32 sum;

	if ((void *)(icmp + 1) > data_end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 || ip->protocol != IPPROTO_ICMP)
		return XDP_PASS;
	if (icmp->type != ICMP_ECHO || icmp->code != 0)
		return XDP_PASS;

	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;

	icmp->type = ICMP_ECHOREPLY;
	sum = icmp->checksum + bpf_htons(ICMP_ECHO << 8);
	icmp->checksum = sum + (sum >> 16);
	return XDP_TX;
}
