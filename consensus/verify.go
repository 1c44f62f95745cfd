package consensus

import (
	"encoding/binary"
	"fmt"

	"cairn/crypto"
)

// Leader is the index of the member that may propose in a view: (view + epoch)
// mod n, in the set sorted by address.
func Leader(epoch uint32, view uint64, n int) int {
	m := uint64(n)
	return int((view%m + uint64(epoch)%m) % m)
}

// Check says whether a subject says only what its kind can say: a known kind, a
// view of at least 1, a nullify about no block, any other vote about a block on
// an earlier view. Errors: ErrKind, ErrSubject. A notarize whose parent view is
// not below its own passes, because it is its leader's signed fault.
func (s Subject) Check() error {
	switch {
	case s.Kind < Notarize || s.Kind > Finalize:
		return fmt.Errorf("%w: %d", ErrKind, s.Kind)
	case s.View == 0:
		return fmt.Errorf("%w: view 0 is the root, nobody votes in it", ErrSubject)
	case s.Kind == Nullify && (s.ParentView != 0 || s.Block != crypto.Hash{}):
		return fmt.Errorf("%w: nullify of view %d names a block", ErrSubject, s.View)
	case s.Kind != Nullify && s.Block == crypto.Hash{}:
		return fmt.Errorf("%w: %s of view %d names no block", ErrSubject, s.Kind, s.View)
	}
	return nil
}

// Digest is what a vote signs: keccak256 of
//
//	domain(16) ‖ kind(1) ‖ chainID(8) ‖ genesis(32) ‖ epoch(4) ‖ view(8) ‖ parentView(8) ‖ block(32)
//
// with big-endian integers, 109 bytes in all, so that a contract can rebuild it
// and check a certificate with ecrecover.
func (s Subject) Digest(n Network) crypto.Hash {
	var b [93]byte
	b[0] = byte(s.Kind)
	binary.BigEndian.PutUint64(b[1:], n.ChainID)
	copy(b[9:], n.Genesis[:])
	binary.BigEndian.PutUint32(b[41:], s.Epoch)
	binary.BigEndian.PutUint64(b[45:], s.View)
	binary.BigEndian.PutUint64(b[53:], s.ParentView)
	copy(b[61:], s.Block[:])
	return crypto.Digest(crypto.DomainVote, b[:])
}

// VerifyVote checks a vote of the epoch's set, signature included.
// Errors: ErrKind, ErrSubject, ErrEpoch, ErrSigner, ErrSignature.
func VerifyVote(n Network, epoch uint32, members []crypto.Address, v *Vote) error {
	if err := checkSubject(v.Subject, epoch); err != nil {
		return err
	}
	if int(v.Signer) >= len(members) {
		return fmt.Errorf("%w: index %d of %d", ErrSigner, v.Signer, len(members))
	}
	if err := v.Signature.Verify(v.Digest(n), members[v.Signer]); err != nil {
		return fmt.Errorf("%w: %s of view %d by member %d: %w", ErrSignature, v.Kind, v.View, v.Signer, err)
	}
	return nil
}

// VerifyCertificate checks that a quorum of distinct members of the epoch's set
// signed the certificate's subject on this network. It costs one recovery for
// each signer. Errors: ErrKind, ErrSubject, ErrEpoch, ErrBitmap, ErrSignatures,
// ErrQuorum, ErrSignature.
func VerifyCertificate(n Network, epoch uint32, members []crypto.Address, c *Certificate) error {
	if err := CheckCertificate(epoch, len(members), c); err != nil {
		return err
	}
	digest, next := c.Digest(n), 0
	for i := range members {
		if !c.Signers.Has(i) {
			continue
		}
		if err := c.Signatures[next].Verify(digest, members[i]); err != nil {
			return fmt.Errorf("%w: %s certificate of view %d, member %d: %w", ErrSignature, c.Kind, c.View, i, err)
		}
		next++
	}
	return nil
}

// CheckCertificate is all of VerifyCertificate but the signatures: the shape of
// a certificate of an epoch with n members.
func CheckCertificate(epoch uint32, n int, c *Certificate) error {
	if err := checkSubject(c.Subject, epoch); err != nil {
		return err
	}
	if len(c.Signers) != (n+7)/8 {
		return fmt.Errorf("%w: %d bytes for %d members", ErrBitmap, len(c.Signers), n)
	}
	for i := n; i < 8*len(c.Signers); i++ {
		if c.Signers.Has(i) {
			return fmt.Errorf("%w: bit %d of %d members", ErrBitmap, i, n)
		}
	}
	count := c.Signers.Count()
	if count != len(c.Signatures) {
		return fmt.Errorf("%w: %d signatures of %d signers", ErrSignatures, len(c.Signatures), count)
	}
	if q := Quorum(n); count < q {
		return fmt.Errorf("%w: %d of %d members, quorum is %d", ErrQuorum, count, n, q)
	}
	return nil
}

// VerifyProposal checks that the leader of the view signed the proposal. The
// attached certificates and the body are the sender's and verified apart: a bad
// one is dropped and never held against the leader.
// Errors: those of VerifyVote, ErrNotLeader, ErrSubject.
func VerifyProposal(n Network, epoch uint32, members []crypto.Address, p *ProposalEnvelope) error {
	if p.Vote.Kind != Notarize {
		return fmt.Errorf("%w: a proposal is signed by a notarize vote, not %s", ErrSubject, p.Vote.Kind)
	}
	if err := checkSubject(p.Vote.Subject, epoch); err != nil {
		return err
	}
	if leader := Leader(epoch, p.Vote.View, len(members)); int(p.Vote.Signer) != leader {
		return fmt.Errorf("%w: view %d is led by member %d, signed by %d", ErrNotLeader, p.Vote.View, leader, p.Vote.Signer)
	}
	return VerifyVote(n, epoch, members, &p.Vote)
}

func checkSubject(s Subject, epoch uint32) error {
	if err := s.Check(); err != nil {
		return err
	}
	if s.Epoch != epoch {
		return fmt.Errorf("%w: %d, not %d", ErrEpoch, s.Epoch, epoch)
	}
	return nil
}

// String is the vote's verb.
func (k Kind) String() string {
	switch k {
	case Notarize:
		return "notarize"
	case Nullify:
		return "nullify"
	case Finalize:
		return "finalize"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Noun is the name of the certificate that a quorum of this vote makes.
func (k Kind) Noun() string {
	switch k {
	case Notarize:
		return "notarization"
	case Nullify:
		return "nullification"
	case Finalize:
		return "finalization"
	}
	return fmt.Sprintf("certificate of kind %d", uint8(k))
}
