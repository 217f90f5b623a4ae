package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	stdhttp "net/http"
	"net/url"
	"os"
	"strings"

	"filippo.io/torchwood"
	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/client/http"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// makeKey makes an ML-DSA-44 key.
func makeKey(arguments []string) (any, error) {
	secret, public, err := f_note.GenerateMLDSAKey(arguments[0])
	return map[string]any{"secret": secret, "vkey": public}, err
}

// runWitness serves the witness of transparency-dev for one log, until it is killed.
func runWitness(arguments []string) (any, error) {
	secrets, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	var signers []note.Signer
	for secret := range strings.FieldsSeq(string(secrets)) {
		signer, err := f_note.NewSignerForCosignatureV1(secret)
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer)
	}
	log, err := note.NewVerifier(arguments[1])
	if err != nil {
		return nil, err
	}
	w, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     signers,
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return log, origin == log.Name(), nil
		},
	})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	say(map[string]any{"url": "http://" + listener.Addr().String()})
	mux := stdhttp.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(w).AddCheckpoint)
	return nil, stdhttp.Serve(listener, mux)
}

// runAgent serves an ssh-agent with the key of a seed in hexadecimal, until it is killed.
func runAgent(arguments []string) (any, error) {
	seed, err := os.ReadFile(arguments[1])
	if err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(seed)))
	if err != nil {
		return nil, err
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: ed25519.NewKeyFromSeed(raw)}); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", arguments[0])
	if err != nil {
		return nil, err
	}
	say(map[string]any{"socket": arguments[0]})
	for {
		connection, err := listener.Accept()
		if err != nil {
			return nil, err
		}
		go agent.ServeAgent(keys, connection)
	}
}

// logSigner reads the secret key of a log: Ed25519, or ML-DSA-44.
func logSigner(secret string) (note.Signer, error) {
	if signer, err := note.NewSigner(secret); err == nil {
		return signer, nil
	}
	return f_note.NewMLDSASigner(secret)
}

// A growing log in memory, to ask a witness about.
type sample struct {
	signer note.Signer
	hashes []tlog.Hash
	size   int64
}

func (s *sample) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = s.hashes[index]
	}
	return found, nil
}

func (s *sample) grow(count int64, text string) error {
	for range count {
		stored, err := tlog.StoredHashes(s.size, []byte(fmt.Sprintf("%s %d", text, s.size)), s)
		if err != nil {
			return err
		}
		s.hashes = append(s.hashes, stored...)
		s.size++
	}
	return nil
}

func (s *sample) checkpoint(signer note.Signer) ([]byte, error) {
	root, err := tlog.TreeHash(s.size, s)
	if err != nil {
		return nil, err
	}
	text := torchwood.Checkpoint{Origin: s.signer.Name(), Tree: tlog.Tree{N: s.size, Hash: root}}.String()
	return note.Sign(&note.Note{Text: text}, signer)
}

func (s *sample) proof(old int64) ([][]byte, error) {
	if old == 0 || old == s.size {
		return nil, nil
	}
	proof, err := tlog.ProveTree(s.size, old, s)
	var raw [][]byte
	for _, hash := range proof {
		raw = append(raw, hash[:])
	}
	return raw, err
}

// askWitness grows a log and asks a witness about it, rightly and wrongly.
func askWitness(arguments []string) (any, error) {
	base, err := url.Parse(arguments[0])
	if err != nil {
		return nil, err
	}
	signer, err := logSigner(arguments[1])
	if err != nil {
		return nil, err
	}
	verifier, err := torchwood.NewCosignatureVerifier(arguments[2])
	if err != nil {
		return nil, err
	}
	log := &sample{signer: signer}
	client := http.NewWitness(base, stdhttp.DefaultClient)
	steps := 0
	update := func(signer note.Signer, old int64, proof [][]byte, want error, wantSize uint64) error {
		steps++
		signed, err := log.checkpoint(signer)
		if err != nil {
			return err
		}
		lines, size, err := client.Update(context.Background(), uint64(old), signed, proof)
		if !errors.Is(err, want) || size != wantSize {
			return fmt.Errorf("step %d: got %v and size %d, want %v and size %d", steps, err, size, want, wantSize)
		}
		if want != nil {
			return nil
		}
		opened, err := note.Open(append(signed, lines...), note.VerifierList(verifier))
		if err != nil || len(opened.Sigs) != 1 {
			return fmt.Errorf("step %d: the cosignature does not hold: %v", steps, err)
		}
		return nil
	}
	var old int64
	for _, count := range []int64{1, 1, 1, 5, 120, 0, 128, 700} {
		if err := log.grow(count, "entry"); err != nil {
			return nil, err
		}
		proof, err := log.proof(old)
		if err != nil {
			return nil, err
		}
		if err := update(signer, old, proof, nil, 0); err != nil {
			return nil, err
		}
		old = log.size
	}
	known := uint64(old)
	if err := update(signer, 1, nil, witness.ErrCheckpointStale, known); err != nil {
		return nil, err
	}
	if err := update(signer, old+1, nil, witness.ErrOldSizeInvalid, 0); err != nil {
		return nil, err
	}
	fork := &sample{signer: signer}
	if err := fork.grow(old+10, "another"); err != nil {
		return nil, err
	}
	honest := log
	log = fork
	proof, err := fork.proof(old)
	if err != nil {
		return nil, err
	}
	if err := update(signer, old, proof, witness.ErrInvalidProof, 0); err != nil {
		return nil, err
	}
	log = &sample{signer: signer}
	if err := log.grow(old, "another"); err != nil {
		return nil, err
	}
	if err := update(signer, old, nil, witness.ErrCheckpointStale, known); err != nil {
		return nil, err
	}
	log = honest
	secret, _, err := note.GenerateKey(nil, signer.Name())
	if err != nil {
		return nil, err
	}
	forger, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	if err := update(forger, old, nil, witness.ErrNoValidSignature, 0); err != nil {
		return nil, err
	}
	secret, _, err = note.GenerateKey(nil, "unknown.example/log")
	if err != nil {
		return nil, err
	}
	stranger, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	log = &sample{signer: stranger}
	if err := log.grow(1, "entry"); err != nil {
		return nil, err
	}
	if err := update(stranger, 0, nil, witness.ErrUnknownLog, 0); err != nil {
		return nil, err
	}
	return map[string]any{"steps": steps, "size": old}, nil
}
