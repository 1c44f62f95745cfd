package rpc

import (
	"strconv"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/crypto"
)

// netAPI answers the net_ methods.
type netAPI struct{ b *service }

// Version answers the chain id in decimal, as wallets expect.
func (a *netAPI) Version() string {
	return strconv.FormatUint(a.b.Ledger.Config().ChainID, 10)
}

// Listening is true: a node that answers listens.
func (a *netAPI) Listening() bool { return true }

// PeerCount answers the number of connected peers.
func (a *netAPI) PeerCount() hexutil.Uint { return hexutil.Uint(a.b.Status().Peers) }

// web3API answers the web3_ methods.
type web3API struct{ b *service }

// ClientVersion names the software.
func (a *web3API) ClientVersion() string { return a.b.ClientVersion }

// Sha3 answers keccak256.
func (a *web3API) Sha3(data hexutil.Bytes) hexutil.Bytes { return crypto.Keccak256(data).Bytes() }

// rpcAPI answers the rpc_ methods; rpc_modules is go-ethereum's own.
type rpcAPI struct{ b *service }
