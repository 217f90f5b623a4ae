# cython: language_level=3, boundscheck=False, wraparound=False
"""The ledger's hot loops in native code: the same bytes as their references in `integrator_audit`, in less time.

- Nothing here decides a format: every function has its reference in Python, which says what the bytes are and why
  (`parts`, `sequencer`, `keytree`, `merkle`), and a test holds the two beside each other.
- SHA-256 and AES-256-GCM are OpenSSL's, the library that Python's own `hashlib` uses. It is found when this is
  imported, so that nothing of it is needed to build; where there is none the import fails, and the references serve.
- What is saved is the making of an object for each hash and each key: with OpenSSL's contexts kept, a short hash takes a
  third of the time.
- The context of hashes is shared, under the interpreter's lock: between `begin` and `end` nothing is allocated and no
  Python runs, so nobody else comes in.
"""

from zlib import crc32

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    #include <dlfcn.h>

    /* The part of OpenSSL's interface (3.0 and later) that is used here; its types are opaque. */
    static void *(*md_fetch)(void *, const char *, const char *);
    static void *(*cipher_fetch)(void *, const char *, const char *);
    static void *(*md_ctx_new)(void);
    static int (*digest_init)(void *, const void *, const void *);
    static int (*digest_update)(void *, const void *, size_t);
    static int (*digest_final)(void *, unsigned char *, unsigned int *);
    static void *(*cipher_ctx_new)(void);
    static void (*cipher_ctx_free)(void *);
    static int (*encrypt_init)(void *, const void *, const unsigned char *, const unsigned char *, const void *);
    static int (*encrypt_update)(void *, unsigned char *, int *, const unsigned char *, int);
    static int (*encrypt_final)(void *, unsigned char *, int *);
    static int (*cipher_ctx_ctrl)(void *, int, int, void *);

    static void *sha256;
    static void *aes256_gcm;
    static void *digest;

    static int load_openssl(void) {
        void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) return 0;
        #define FIND(name, symbol) if ((*(void **)&name = dlsym(library, symbol)) == NULL) return 0
        FIND(md_fetch, "EVP_MD_fetch");
        FIND(cipher_fetch, "EVP_CIPHER_fetch");
        FIND(md_ctx_new, "EVP_MD_CTX_new");
        FIND(digest_init, "EVP_DigestInit_ex2");
        FIND(digest_update, "EVP_DigestUpdate");
        FIND(digest_final, "EVP_DigestFinal_ex");
        FIND(cipher_ctx_new, "EVP_CIPHER_CTX_new");
        FIND(cipher_ctx_free, "EVP_CIPHER_CTX_free");
        FIND(encrypt_init, "EVP_EncryptInit_ex2");
        FIND(encrypt_update, "EVP_EncryptUpdate");
        FIND(encrypt_final, "EVP_EncryptFinal_ex");
        FIND(cipher_ctx_ctrl, "EVP_CIPHER_CTX_ctrl");
        #undef FIND
        sha256 = md_fetch(NULL, "SHA256", NULL);
        aes256_gcm = cipher_fetch(NULL, "AES-256-GCM", NULL);
        digest = md_ctx_new();
        return sha256 != NULL && aes256_gcm != NULL && digest != NULL;
    }

    /* A tuple of a named tuple's class, to be filled before anybody else sees it. */
    #define new_tuple(kind, size) ((PyTypeObject *)(kind))->tp_alloc((PyTypeObject *)(kind), (size))
    """
    bint load_openssl()
    void *sha256
    void *aes256_gcm
    void *digest
    int digest_init(void *, const void *, const void *)
    int digest_update(void *, const void *, size_t)
    int digest_final(void *, uint8_t *, unsigned int *)
    void *cipher_ctx_new()
    void cipher_ctx_free(void *)
    int encrypt_init(void *, const void *, const uint8_t *, const uint8_t *, const void *)
    int encrypt_update(void *, uint8_t *, int *, const uint8_t *, int)
    int encrypt_final(void *, uint8_t *, int *)
    int cipher_ctx_ctrl(void *, int, int, void *)
    object new_tuple(object kind, Py_ssize_t size)

if not load_openssl():
    raise ImportError("there is no libcrypto.so.3 of OpenSSL 3 on this machine")

cdef enum:
    HASH = 32
    PSEUDONYM = 32
    SALT = 32
    KEY = 32
    NONCE = 12
    TAG = 16
    GET_TAG = 0x10  # EVP_CTRL_AEAD_GET_TAG
    FRESH = 4 * SALT + 2 * NONCE
    CONTENT = 3 * SALT + 8  # what a body has before D
    MAX_BODY = 1 << 20  # more than D, S and identity can have
    SMALL = 35  # what a row's seal has before the body
    MEMBERS = 11  # of an entry
    COLUMNS = 16  # of a row


def are_ordinary(list entries, *, bytes start, frozenset retentions):
    """Say whether all are of a person, without an actor, and as `integrator_audit.parts.check_entries` wants them."""
    for entry in entries:
        subject, recipient, at, identity = item(entry, 5), item(entry, 6), item(entry, 7), item(entry, 10)
        if not (
            item(entry, 0) == 1
            and is_part(item(entry, 1), start) and is_part(item(entry, 2), start) and is_part(item(entry, 3), start)
            and item(entry, 4) == b""
            and PyBytes_Check(subject) and length(subject) == PSEUDONYM
            and isinstance(recipient, str) and len(recipient) <= 255
            and isinstance(at, int) and 0 <= at < 1 << 53
            and item(entry, 8) in retentions
            and PyBytes_Check(identity) and length(identity) <= 1024
        ):
            return False
    return True


cdef bint is_part(data, bytes start) except -1:
    """As `integrator_audit.parts` says of bytes."""
    if not PyBytes_Check(data) or not length(start) < length(data) <= 0xFFFF:
        return False
    return memcmp(octets(data), octets(start), length(start)) == 0 and octets(data)[length(data) - 1] == c"}"


def seal_rows(
    list entries, list order, *, object first, bytes random, bytes origin, bytes prefix, tuple parts,
    dict classes, dict people, object row,
):
    """Return the rows and the leaf entries of a batch, or None when an entry has an actor or no person.

    As `integrator_audit.sequencer` does entry by entry, for entries of type 1. `random` is what `sequence` is given;
    `parts` are the prefixes of the hashes of A, D, S and P, `prefix` is that of the commitment; `row` is `EntryRow`.
    """
    cdef Py_ssize_t count = len(order)
    if len(random) < count * FRESH or len(parts) != 4:
        raise ValueError("not as much randomness, or prefixes, as a batch takes")
    if not issubclass(row, tuple):
        raise TypeError("a row is a tuple")
    cdef list rows = []
    cdef list leaves = []
    cdef const uint8_t *fresh = octets(random)
    cdef uint64_t index = first
    cdef void *cipher = cipher_ctx_new()
    try:
        done(cipher != NULL and encrypt_init(cipher, aes256_gcm, NULL, NULL, NULL))
        for place in order:
            entry = entries[place]
            if item(entry, 0) != 1 or item(entry, 4) or item(entry, 5) is None:
                return None
            leaf = new_bytes(1 + HASH)
            rows.append(seal_row(entry, index, fresh, leaf, cipher, origin, prefix, parts, classes, people, row))
            leaves.append(leaf)
            index += 1
            fresh += FRESH
    finally:
        # With it goes the last key.
        cipher_ctx_free(cipher)
    return rows, leaves


cdef object seal_row(
    entry, uint64_t index, const uint8_t *fresh, bytes leaf, void *cipher, bytes origin, bytes prefix,
    tuple parts, dict classes, dict people, object row,
):
    a, d, s, p, subject, recipient = (
        item(entry, 1), item(entry, 2), item(entry, 3), item(entry, 4), item(entry, 5), item(entry, 6)
    )
    at, retention, listed, identity = item(entry, 7), item(entry, 8), item(entry, 9), item(entry, 10)
    cdef bytes hashes = new_bytes(4 * HASH)
    cdef uint8_t *to = octets(hashes)
    hash_part(parts[0], fresh, a, to)
    hash_part(parts[1], fresh + SALT, d, to + HASH)
    hash_part(parts[2], fresh + 2 * SALT, s, to + 2 * HASH)
    hash_part(parts[3], fresh + 3 * SALT, p, to + 3 * HASH)
    cdef bytes committed = new_bytes(HASH)
    begin()
    add(prefix)
    add(hashes)
    end(octets(committed))
    octets(leaf)[0] = 1
    memcpy(octets(leaf) + 1, octets(committed), HASH)

    version, key = people[subject, classes[retention]]
    cdef bytes body = seal_body(cipher, sized(key, KEY), fresh, origin, index, version, d, s, identity)
    cdef bytes name = (<str?>recipient).encode()
    seal = row_seal(index, at, retention, listed, version, body, subject, name)
    made = new_tuple(row, COLUMNS)
    put(made, 0, index)
    put(made, 1, subject)
    put(made, 2, recipient)
    put(made, 3, 1)
    put(made, 4, at)
    put(made, 5, retention)
    put(made, 6, listed)
    put(made, 7, PyBytes_FromStringAndSize(<const char *>fresh, SALT))
    put(made, 8, a)
    put(made, 9, body)
    put(made, 10, b"")
    put(made, 11, hashes)
    put(made, 12, committed)
    put(made, 13, version)
    put(made, 14, None)
    put(made, 15, seal)
    return made


cdef bytes seal_body(
    void *cipher, bytes key, const uint8_t *fresh, bytes origin, uint64_t index, uint64_t version, d, s, identity
):
    """Return nonce ‖ AES-256-GCM(salt_D ‖ salt_S ‖ salt_P ‖ u32 len(D) ‖ u32 len(S) ‖ D ‖ S ‖ identity)."""
    cdef Py_ssize_t size = CONTENT + length(d) + length(s) + length(identity)
    if size > MAX_BODY:
        raise ValueError("an entry is larger than entries can be")
    cdef bytes body = new_bytes(NONCE + size + TAG)
    cdef uint8_t *nonce = octets(body)
    cdef uint8_t *content = nonce + NONCE
    cdef uint8_t *to = content
    memcpy(nonce, fresh + 4 * SALT, NONCE)
    memcpy(to, fresh + SALT, 3 * SALT)
    to = write(write(to + 3 * SALT, length(d), 4), length(s), 4)
    for piece in (d, s, identity):
        memcpy(to, octets(piece), length(piece))
        to += length(piece)
    # What `integrator_audit.keystore.associated_data` returns, after the origin.
    cdef uint8_t place[13]
    write(place, index, 8)
    place[8] = c"B"
    write(place + 9, version, 4)
    cdef int written = 0
    done(encrypt_init(cipher, NULL, octets(key), nonce, NULL))
    done(encrypt_update(cipher, NULL, &written, octets(origin), <int>length(origin)))
    done(encrypt_update(cipher, NULL, &written, place, sizeof(place)))
    done(encrypt_update(cipher, content, &written, content, <int>size))
    done(encrypt_final(cipher, to, &written))
    done(cipher_ctx_ctrl(cipher, GET_TAG, TAG, to))
    return body


cdef object row_seal(
    uint64_t index, uint64_t at, uint64_t retention, bint listed, uint64_t version, bytes body, subject, bytes name
):
    """Return what `integrator_audit.store.entry_seal` does."""
    cdef bytes sealed = new_bytes(SMALL + length(body) + length(subject) + length(name))
    cdef uint8_t *to = write(write(octets(sealed), index, 8), at, 8)
    to = write(write(write(to, 1, 1), retention, 1), listed, 1)
    to = write(write(write(write(to, version, 4), length(body), 4), 0, 4), length(name), 4)
    for piece in (body, subject, name):
        memcpy(to, octets(piece), length(piece))
        to += length(piece)
    return crc32(sealed)


def person_keys(
    dict tops, list pseudonyms, *, bytes child, bytes person, Py_ssize_t depth, Py_ssize_t top
):
    """Return the key of each person whose seed at level `top` is among `tops`, by its path; None for everybody else.

    `child` and `person` are the prefixes of the tree's hashes, `depth` the length of a path.
    """
    cdef uint8_t path[HASH]
    cdef bytes message = new_bytes(length(child) + KEY + 1)
    cdef uint8_t *node = octets(message) + length(child)
    cdef Py_ssize_t at
    if not 0 <= top <= depth <= HASH:
        raise ValueError("a path is shorter than a hash")
    memcpy(octets(message), octets(child), length(child))
    cdef list keys = []
    for pseudonym in pseudonyms:
        begin()
        add(pseudonym)
        end(path)
        seed = tops.get(PyBytes_FromStringAndSize(<const char *>path, top))
        if seed is None:
            keys.append(None)
            continue
        memcpy(node, octets(sized(seed, KEY)), KEY)
        for at in range(top, depth):
            node[KEY] = path[at]
            begin()
            add(message)
            end(node)
        begin()
        add(person)
        add_some(node, KEY)
        add(pseudonym)
        key = new_bytes(KEY)
        end(octets(key))
        keys.append(key)
    return keys


def leaf_hashes(list entries):
    """Return SHA-256(0x00 ‖ entry) of each entry."""
    return [prefixed(0, entry, NULL) for entry in entries]


def pair_hashes(list nodes):
    """Return SHA-256(0x01 ‖ left ‖ right) of each pair of neighbours, a last one without a neighbour left out."""
    cdef Py_ssize_t at
    return [prefixed(1, nodes[2 * at], octets(sized(nodes[2 * at + 1], HASH))) for at in range(len(nodes) // 2)]


cdef bytes prefixed(uint8_t prefix, entry, const uint8_t *right):
    cdef bytes hashed = new_bytes(HASH)
    begin()
    add_some(&prefix, 1)
    add(entry)
    if right != NULL:
        add_some(right, HASH)
    end(octets(hashed))
    return hashed


def parents(bytes hashes):
    """Return the nodes over an even number of neighbouring hashes, both joined."""
    if length(hashes) % (2 * HASH):
        raise ValueError("not an even number of hashes")
    cdef bytes nodes = new_bytes(length(hashes) // 2)
    cdef uint8_t prefix = 1
    cdef Py_ssize_t at
    for at in range(length(nodes) // HASH):
        begin()
        add_some(&prefix, 1)
        add_some(octets(hashes) + at * 2 * HASH, 2 * HASH)
        end(octets(nodes) + at * HASH)
    return nodes


# What follows are the smallest steps. Every one of them that can fail says so.

cdef inline int done(bint well) except -1:
    if not well:
        raise RuntimeError("OpenSSL could not do what it was asked to")
    return 0


cdef inline int begin() except -1:
    return done(digest_init(digest, sha256, NULL))


cdef inline int add_some(const uint8_t *data, Py_ssize_t size) except -1:
    return done(digest_update(digest, data, size))


cdef inline int add(data) except -1:
    return done(digest_update(digest, octets(data), length(data)))


cdef inline int end(uint8_t *to) except -1:
    return done(digest_final(digest, to, NULL))


cdef inline int hash_part(prefix, const uint8_t *salt, data, uint8_t *to) except -1:
    begin()
    add(prefix)
    add_some(salt, SALT)
    add(data)
    return end(to)


cdef inline uint8_t *write(uint8_t *to, uint64_t number, int size) noexcept:
    """Write a big-endian number and return where it ends."""
    cdef int at
    for at in range(size - 1, -1, -1):
        to[at] = <uint8_t>(number & 0xFF)
        number >>= 8
    return to + size


cdef inline bytes new_bytes(Py_ssize_t size):
    return PyBytes_FromStringAndSize(NULL, size)


cdef inline uint8_t *octets(data) except NULL:
    if not PyBytes_Check(data):
        raise TypeError(f"bytes are needed here, not {type(data).__name__}")
    return <uint8_t *>PyBytes_AS_STRING(data)


cdef inline Py_ssize_t length(data) except -1:
    if not PyBytes_Check(data):
        raise TypeError(f"bytes are needed here, not {type(data).__name__}")
    return PyBytes_GET_SIZE(data)


cdef inline bytes sized(data, Py_ssize_t size):
    if length(data) != size:
        raise ValueError(f"{size} bytes are needed here, not {length(data)}")
    return data


cdef inline object item(entry, Py_ssize_t at):
    """Return a member of an `integrator_audit.parts.Entry`."""
    if not isinstance(entry, tuple) or PyTuple_GET_SIZE(entry) != MEMBERS:
        raise TypeError("not an entry")
    return <object>PyTuple_GET_ITEM(entry, at)


cdef inline int put(row, Py_ssize_t at, item) except -1:
    Py_INCREF(item)
    PyTuple_SET_ITEM(row, at, item)
    return 0
