/* A pool of threads that all run the same function and meet after each piece of it. They live as long as the process. */
#include "share.h"
#if defined(__GNUC__) && (defined(__unix__) || defined(__APPLE__))
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

enum { HK_MOST_THREADS = 64, HK_SPINS = 4000 /* a few ten microseconds: what waking up a thread takes */ };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int count, spins;
    int arrived, round, sleeping;
} hk_threads = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 1, 0, 0, 0, 0};

static inline void hk_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* Returns when all threads have called it; what they wrote before is there then. */
static void hk_meet(hk_share share) {
    if (share.count == 1) return;
    const int round = __atomic_load_n(&hk_threads.round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&hk_threads.arrived, 1, __ATOMIC_ACQ_REL) == share.count) {
        __atomic_store_n(&hk_threads.arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&hk_threads.round, (int)((unsigned)round + 1), __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&hk_threads.sleeping, __ATOMIC_SEQ_CST)) return;
        pthread_mutex_lock(&hk_threads.lock);
        pthread_cond_broadcast(&hk_threads.met);
        pthread_mutex_unlock(&hk_threads.lock);
        return;
    }
    for (int i = 0; i < hk_threads.spins; i++) {
        if (__atomic_load_n(&hk_threads.round, __ATOMIC_ACQUIRE) != round) return;
        hk_pause();
    }
    pthread_mutex_lock(&hk_threads.lock);
    __atomic_add_fetch(&hk_threads.sleeping, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&hk_threads.round, __ATOMIC_SEQ_CST) == round) pthread_cond_wait(&hk_threads.met, &hk_threads.lock);
    __atomic_sub_fetch(&hk_threads.sleeping, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&hk_threads.lock);
}

/* Starts all threads but the caller's: each calls work with its share. They may use the CPUs that the caller may. 0, or an errno. */
static int hk_start(int count, void *(*work)(void *)) {
    static hk_share shares[HK_MOST_THREADS];
    if (count < 1 || count > HK_MOST_THREADS) return EINVAL;
    hk_threads.count = count;
    hk_threads.spins = count <= sysconf(_SC_NPROCESSORS_ONLN) ? HK_SPINS : 0; /* else who is waited for may not run */
    for (int i = 1; i < count; i++) {
        pthread_t thread;
        shares[i] = (hk_share){i, count};
        const int error = pthread_create(&thread, NULL, work, &shares[i]);
        if (error) return error;
        pthread_detach(thread);
    }
    return 0;
}
#else
#include <errno.h>

static struct {
    int count;
} hk_threads = {1};

static void hk_meet(hk_share share) { (void)share; }

static int hk_start(int count, void *(*work)(void *)) {
    (void)work;
    return count == 1 ? 0 : EINVAL;
}
#endif
