package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"

	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	f_proof "github.com/transparency-dev/formats/proof"
	f_witness "github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// checkProof verifies a tlog-proof for a leaf, given in hexadecimal, and that it is written as formats would write it.
func checkProof(arguments []string) (any, error) {
	verifier, err := f_note.NewVerifier(arguments[0])
	if err != nil {
		return nil, err
	}
	policy, err := os.ReadFile(arguments[1])
	if err != nil {
		return nil, err
	}
	quorum, err := f_witness.ParsePolicy(policy)
	if err != nil {
		return nil, err
	}
	leaf, err := hex.DecodeString(arguments[2])
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	var read f_proof.TLogProof
	if err := read.Unmarshal(text); err != nil {
		return nil, err
	}
	if string(read.Marshal()) != string(text) {
		return nil, fmt.Errorf("formats would write the proof otherwise")
	}
	checkpoint, _, _, err := log.ParseCheckpoint(read.Checkpoint, verifier.Name(), verifier)
	if err != nil {
		return nil, err
	}
	if !quorum.Satisfied(read.Checkpoint) {
		return nil, fmt.Errorf("the policy is not satisfied")
	}
	hashes := make([][]byte, len(read.Hashes))
	for i := range read.Hashes {
		hashes[i] = read.Hashes[i][:]
	}
	hasher := rfc6962.DefaultHasher
	err = proof.VerifyInclusion(hasher, read.Index, checkpoint.Size, hasher.HashLeaf(leaf), hashes, checkpoint.Hash)
	if err != nil {
		return nil, err
	}
	return map[string]any{"extra": hex.EncodeToString(read.ExtraData)}, nil
}

// makeProofs writes proofs of one entry of a sample log, without and with extra data.
func makeProofs(arguments []string) (any, error) {
	signer, err := logSigner(arguments[0])
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseInt(arguments[1], 10, 64)
	if err != nil {
		return nil, err
	}
	index, err := strconv.ParseInt(arguments[2], 10, 64)
	if err != nil {
		return nil, err
	}
	made := &sample{signer: signer}
	if err := made.grow(size, "entry"); err != nil {
		return nil, err
	}
	checkpoint, err := made.checkpoint(signer)
	if err != nil {
		return nil, err
	}
	hashes, err := tlog.ProveRecord(size, index, made)
	if err != nil {
		return nil, err
	}
	extra := []byte("something beside it")
	written := f_proof.TLogProof{Index: uint64(index), Checkpoint: checkpoint}
	for _, hash := range hashes {
		written.Hashes = append(written.Hashes, hash)
	}
	withExtra := written
	withExtra.ExtraData = extra
	return map[string]any{
		"leaf":  hex.EncodeToString([]byte(fmt.Sprintf("entry %d", index))),
		"extra": hex.EncodeToString(extra),
		"plain": []string{
			string(torchwood.FormatProof(index, hashes, checkpoint)), string(written.Marshal()),
		},
		"withExtra": []string{
			string(torchwood.FormatProofWithExtraData(index, extra, hashes, checkpoint)), string(withExtra.Marshal()),
		},
	}, nil
}
