package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// readLog verifies the checkpoint under a policy, reads all entries and proves each.
func readLog(arguments []string) (any, error) {
	ctx := context.Background()
	policy, err := readPolicy(arguments[1])
	if err != nil {
		return nil, err
	}
	tiles, signed, err := fetch(ctx, arguments[0])
	if err != nil {
		return nil, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return nil, err
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return nil, err
	}
	entries := sha256.New()
	var count int64
	for index, entry := range client.AllEntries(ctx, checkpoint.Tree, 0) {
		if index != count {
			return nil, fmt.Errorf("entry %d came after %d", index, count-1)
		}
		count++
		entries.Write(entry)
	}
	if err := client.Err(); err != nil {
		return nil, err
	}
	if count != checkpoint.N {
		return nil, fmt.Errorf("%d of %d entries came", count, checkpoint.N)
	}
	for index := int64(0); index < count; index += 1 + count/50 {
		entry, proof, err := client.Entry(ctx, checkpoint.Tree, index)
		if err != nil {
			return nil, err
		}
		if err := tlog.CheckRecord(proof, checkpoint.N, checkpoint.Hash, index, tlog.RecordHash(entry)); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"origin": checkpoint.Origin, "size": checkpoint.N, "entries": hex.EncodeToString(entries.Sum(nil)),
	}, nil
}

// proveLog opens the checkpoint with x/mod's note and proves entries and earlier sizes with its tlog.
func proveLog(arguments []string) (any, error) {
	ctx := context.Background()
	verifier, err := note.NewVerifier(arguments[1])
	if err != nil {
		return nil, err
	}
	tiles, signed, err := fetch(ctx, arguments[0])
	if err != nil {
		return nil, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return nil, err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return nil, err
	}
	hashes := torchwood.TileHashReaderWithContext(ctx, checkpoint.Tree, tiles)
	root, err := tlog.TreeHash(checkpoint.N, hashes)
	if err != nil {
		return nil, err
	}
	if root != checkpoint.Hash {
		return nil, fmt.Errorf("the tiles give root %v, the checkpoint signs %v", root, checkpoint.Hash)
	}
	sizes := 0
	for size := int64(1); size <= checkpoint.N; size += 1 + checkpoint.N/50 {
		earlier, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return nil, err
		}
		proof, err := tlog.ProveTree(checkpoint.N, size, hashes)
		if err != nil {
			return nil, err
		}
		if err := tlog.CheckTree(proof, checkpoint.N, checkpoint.Hash, size, earlier); err != nil {
			return nil, err
		}
		sizes++
	}
	return map[string]any{"size": checkpoint.N, "sizes": sizes}, nil
}

// checkReceipt verifies a tlog-proof for a leaf, given in hexadecimal.
func checkReceipt(arguments []string) (any, error) {
	policy, err := readPolicy(arguments[0])
	if err != nil {
		return nil, err
	}
	leaf, err := hex.DecodeString(arguments[1])
	if err != nil {
		return nil, err
	}
	proof, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(leaf), proof); err != nil {
		return nil, err
	}
	extra, err := torchwood.ProofExtraData(proof)
	if err != nil {
		return map[string]any{"extra": nil}, nil
	}
	return map[string]any{"extra": hex.EncodeToString(extra)}, nil
}

func fetch(ctx context.Context, url string) (*torchwood.TileFetcher, []byte, error) {
	tiles, err := torchwood.NewTileFetcher(url)
	if err != nil {
		return nil, nil, err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	return tiles, signed, err
}

func readPolicy(path string) (torchwood.Policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return torchwood.ParsePolicy(text)
}
