package main

import (
	"context"

	"cairn/scripts/internal/testnet"
)

func measureFinality(ctx context.Context, net *testnet.Network, n int) (*testnet.Finality, error) {
	chain, err := net.Chain()
	if err != nil {
		return nil, err
	}
	key, err := net.Key(0)
	if err != nil {
		return nil, err
	}
	return testnet.MeasureFinality(ctx, net.Nodes, chain, key, n)
}
