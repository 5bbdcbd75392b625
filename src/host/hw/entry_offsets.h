// Offsets into HwThread that entry.S uses; entry.h asserts them.
#ifndef CLOISTER_HOST_HW_ENTRY_OFFSETS_H
#define CLOISTER_HOST_HW_ENTRY_OFFSETS_H

#define HW_HOST_SP 0
#define HW_STAGE 8
#define HW_NOTICE 16
#define HW_FUNCTION 24
#define HW_REASON 40
#define HW_RUN 48
#define HW_BLOCK 312

// HwThread.stage
#define HW_OUTSIDE 0
#define HW_ENTERING 1
#define HW_LOOKING 2
#define HW_RESUMING 3

// ENCLU leaves
#define HW_EENTER 2
#define HW_ERESUME 3

#endif
