package chain

import (
	"math/big"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/crypto"
)

// signer is the London signer of go-ethereum with two differences: the sender
// comes from crypto.Recover, and what this ledger does not take (other types,
// legacy without EIP-155) is refused before any recovery.
type signer struct {
	types.Signer
	chainID uint64
	big     *big.Int
}

// NewSigner makes the signer of a chain id. types.Sender(signer, tx) keeps the
// sender in tx, so that a transaction is recovered once.
// Errors of its Sender: ErrTypeNotSupported, ErrUnprotected, ErrInvalidChainID,
// ErrInvalidSender.
func NewSigner(chainID uint64) types.Signer {
	id := new(big.Int).SetUint64(chainID)
	return &signer{Signer: types.NewLondonSigner(id), chainID: chainID, big: id}
}

// Sender is types.Sender: the address that signed tx, recovered once.
func Sender(s types.Signer, tx *types.Transaction) (crypto.Address, error) {
	return types.Sender(s, tx)
}

// Equal implements types.Signer.
func (s *signer) Equal(other types.Signer) bool {
	o, ok := other.(*signer)
	return ok && o.chainID == s.chainID
}

// Sender implements types.Signer.
func (s *signer) Sender(tx *types.Transaction) (crypto.Address, error) {
	sig, err := signature(tx, s.big)
	if err != nil {
		return crypto.Address{}, err
	}
	addr, err := crypto.Recover(s.Hash(tx), sig)
	if err != nil {
		return crypto.Address{}, invalid(ErrInvalidSender, "%v", err)
	}
	return addr, nil
}

// signature brings the signature of tx into the form of package crypto and
// checks type and chain id on the way.
func signature(tx *types.Transaction, chainID *big.Int) (crypto.Signature, error) {
	var sig crypto.Signature
	v, r, s := tx.RawSignatureValues()
	if r == nil || s == nil || v == nil || r.Sign() < 0 || s.Sign() < 0 || v.Sign() < 0 {
		return sig, invalid(ErrInvalidSender, "no signature")
	}
	if r.BitLen() > 256 || s.BitLen() > 256 {
		return sig, invalid(ErrInvalidSender, "signature value of more than 256 bits")
	}
	recovery, err := recoveryID(tx, v, chainID)
	if err != nil {
		return sig, err
	}
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:64])
	sig[64] = recovery
	return sig, nil
}

// recoveryID is 0 or 1. A legacy v is 35 + 2·chainID + recovery id (EIP-155).
func recoveryID(tx *types.Transaction, v, chainID *big.Int) (byte, error) {
	switch tx.Type() {
	case types.LegacyTxType:
		return legacyRecoveryID(v, chainID)
	case types.AccessListTxType, types.DynamicFeeTxType:
		if id := tx.ChainId(); id.Cmp(chainID) != 0 {
			return 0, invalid(ErrInvalidChainID, "have %d want %d", id, chainID)
		}
		if v.BitLen() > 1 {
			return 0, invalid(ErrInvalidSender, "v of a typed transaction is neither 0 nor 1")
		}
		return byte(v.Uint64()), nil
	default:
		return 0, invalid(ErrTypeNotSupported, "type %d", tx.Type())
	}
}

func legacyRecoveryID(v, chainID *big.Int) (byte, error) {
	if v.IsUint64() && (v.Uint64() == 27 || v.Uint64() == 28) {
		return 0, invalid(ErrUnprotected, "v is %d", v)
	}
	rest := new(big.Int).Sub(v, big.NewInt(35))
	if rest.Sign() < 0 {
		return 0, invalid(ErrInvalidSender, "v of a legacy transaction is %d", v)
	}
	id := new(big.Int).Rsh(rest, 1)
	if id.Cmp(chainID) != 0 {
		return 0, invalid(ErrInvalidChainID, "have %d want %d", id, chainID)
	}
	return byte(rest.Bit(0)), nil
}
